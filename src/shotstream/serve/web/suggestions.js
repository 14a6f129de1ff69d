/** Shots that could follow, as chips that fill the prompt line. */

import { get, storyPath } from "./api.js";
import { button, element, fill } from "./dom.js";

/**
 * Makes the row of suggestions, which are asked for anew whenever the branch changes.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {(text: string) => void} write
 * @returns {HTMLElement}
 */
export function makeSuggestions(store, write) {
  const root = element("div", { className: "chips", role: "group", "aria-label": "Suggestions" });
  const show = async ({ story, tree }) => {
    if (!story || !tree) return fill(root);
    const { shots } = await get(storyPath(story, "suggestions")).catch(() => ({ shots: [] }));
    if (store.get().story !== story) return undefined;
    return fill(root, ...shots.map((text) => button(text, () => write(text), { className: "chip", title: text })));
  };
  store.watch(["story", "tree"], show);
  return root;
}
