/** Names, while a script is being written or pasted, the words of its captions that the model does not know. */

import { checkWords, makeCheck, withWord } from "./check.js";
import { captionsOf, readScript } from "./script.js";

/**
 * Makes the check of a field that holds a script; what is too long is said on the cards of its shots.
 * @param {HTMLTextAreaElement} field
 * @param {() => string|null} story that its shots are added to; null: they begin one
 * @returns {{root: HTMLElement, check: () => void}} `check` looks at what stands in the field now
 */
export function makeScriptCheck(field, story) {
  const find = async (text) => checkWords(captionsOf(await readScript(text, story())).join("\n"));
  const { root, check } = makeCheck(find, (word, known) => {
    field.value = withWord(field.value, word, known);
    check(field.value);
    field.focus();
  });
  field.addEventListener("input", () => check(field.value));
  return { root, check: () => check(field.value) };
}
