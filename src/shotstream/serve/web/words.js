/** The words that the model's world knows: a dialog to choose from, and a line for those that it does not know. */

import { get } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./dom.js";

const WAIT_MS = 400;

/**
 * Makes the button that shows the words; it hides where they are not known.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {(words: string) => void} insert puts words into the prompt line
 * @returns {HTMLElement}
 */
export function makeWordsLink(store, insert) {
  const choose = async () => {
    const words = await openDialog("Words it knows", (close) => [
      element("div", { className: "words" }, ...store.get().words.map((one) => traitWords(one, close))),
    ]);
    if (words) insert(words);
  };
  const link = button("Words it knows", choose, { className: "quiet known", "aria-haspopup": "dialog" });
  store.watch(["words"], ({ words }) => (link.hidden = !words.length));
  return link;
}

/** One trait: a line for each of its values, with all that can be said for it. */
function traitWords({ trait, values }, close) {
  const id = `words-${trait}`;
  const line = ({ phrases }) => element("li", {}, ...phrases.map((words) => button(words, () => close(words), { className: "chip" })));
  return element("section", { "aria-labelledby": id }, element("h3", { id }, trait), element("ul", {}, ...values.map(line)));
}

/**
 * Makes the line that names unknown words.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @returns {{root: HTMLElement, check: (text: string) => void}} `check` asks once a text has stood still for a moment
 */
export function makeUnknown(store) {
  const root = element("p", { className: "unknown", role: "status", "aria-live": "polite" });
  let latest = "";
  let timer;

  const show = (unknown) => {
    const line = unknown.length ? `It does not know: ${unknown.join(", ")}` : "";
    if (root.textContent !== line) root.textContent = line;
  };
  const ask = async (text) => {
    const { unknown } = await get(`api/words?${new URLSearchParams({ text })}`).catch(() => ({ unknown: [] }));
    if (text === latest) show(unknown);
  };
  return {
    root,
    check(text) {
      latest = text.trim();
      clearTimeout(timer);
      if (latest && store.get().words.length) timer = setTimeout(ask, WAIT_MS, latest);
      else show([]);
    },
  };
}
