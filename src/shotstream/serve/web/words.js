/** The words that the model's world knows, in a dialog to choose from. */

import { openDialog } from "./dialog.js";
import { button, element } from "./dom.js";

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
