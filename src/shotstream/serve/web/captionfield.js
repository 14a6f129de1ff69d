/** A caption of a planned shot: edited in its place, with what the model will not follow of it below. */

import { checkCaption, makeCheck, withWord } from "./check.js";
import { element } from "./dom.js";

/**
 * Makes the field.
 * @param {string} globalCaption the story's
 * @param {() => void} changed called when a person has written another text
 * @returns {{root: HTMLElement, field: HTMLTextAreaElement, text: () => string,
 *   show: (text: string, shot: number, name: string) => void, reset: () => void}} `show` puts in the text that the
 *   server has for shot `shot` (from 0), and names the field; `reset` drops what was written and not taken
 */
export function makeCaptionField(globalCaption, changed) {
  const field = element("textarea", { rows: 1, maxLength: 2000, spellcheck: false, autocomplete: "off" });
  let place = 0;
  let checked = "";
  const find = (text) => checkCaption({ global_caption: globalCaption, text, shot: place });
  const { root, check } = makeCheck(find, (word, known) => {
    field.value = withWord(field.value, word, known);
    changed();
  });
  const checkAgain = () => {
    const now = `${place} ${field.value}`;
    if (now === checked) return;
    checked = now;
    check(field.value);
  };
  field.onchange = changed;
  field.oninput = checkAgain;
  return {
    root: element("div", { className: "caption-field" }, field, root),
    field,
    text: () => field.value.trim(),
    show(text, shot, name) {
      place = shot;
      keep(field, text);
      field.setAttribute("aria-label", name);
      checkAgain();
    },
    reset() {
      field.value = field.dataset.kept;
      checkAgain();
    },
  };
}

/**
 * Shows what the server has, unless a person has written something else in the field that is not sent yet.
 * @param {HTMLInputElement|HTMLTextAreaElement} field
 * @param {string} value
 */
export function keep(field, value) {
  if (field.value === (field.dataset.kept ?? "")) field.value = value;
  field.dataset.kept = value;
}
