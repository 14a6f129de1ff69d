/** Guidance and the negative prompt of a story that is about to begin, for models that take them. */

import { checkWords, makeCheck, withWord } from "./check.js";
import { element } from "./dom.js";

/** The largest scale of guidance that the server takes (`shotstream.model.config`); 1 is none. */
const MAX_GUIDANCE = 30;

/**
 * Makes the two fields; they are shown only where the model takes guidance.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {string} form id of the form that Enter submits
 * @returns {{root: HTMLElement, read: (script?: {guidance?: number|null, negative_prompt?: string}) =>
 *   {guidance: number|null, negative_prompt: string|null}}} `read` returns what the story is begun with: what its
 *   script says, else what the fields say, else null; it throws an Error where the number is none or out of range
 */
export function makeGuidance(store, form) {
  const scale = element("input", {
    type: "number", id: "guidance", form, min: 1, max: MAX_GUIDANCE, step: "any", autocomplete: "off", "aria-describedby": "guidance-hint",
  });
  const avoid = element("input", {
    id: "avoid", form, maxLength: 2000, autocomplete: "off", placeholder: "A city at night.", "aria-describedby": "avoid-hint",
  });
  const check = makeCheck(checkWords, (word, known) => {
    avoid.value = withWord(avoid.value, word, known);
    check.check(avoid.value);
    avoid.focus();
  });
  avoid.oninput = () => check.check(avoid.value);
  const scaleHint = element("small", { id: "guidance-hint" });
  const fields = element("div", { className: "guiding" },
    element("div", {}, element("label", { for: "guidance" }, "Guidance"), scale, scaleHint),
    element("div", {}, element("label", { for: "avoid" }, "What to avoid"), avoid,
      element("small", { id: "avoid-hint" }, "Negative prompt: what the whole story should not show."), check.root));
  const root = element("details", { className: "more" }, element("summary", {}, "Guidance, and what to avoid"), fields);
  store.watch(["guidance"], ({ guidance }) => {
    root.hidden = guidance === null;
    scale.placeholder = String(guidance ?? "");
    scaleHint.textContent = `How closely it follows the text, 1 to ${MAX_GUIDANCE}. If empty: ${guidance}.`;
  });
  const read = (script = {}) => {
    if (!scale.checkValidity()) {
      root.open = true;
      scale.focus();
      throw new Error(`Guidance is a number from 1 to ${MAX_GUIDANCE}. Correct it, or leave it empty.`);
    }
    const own = scale.value === "" ? null : scale.valueAsNumber;
    return { guidance: script.guidance ?? own, negative_prompt: script.negative_prompt || avoid.value.trim() || null };
  };
  return { root, read };
}
