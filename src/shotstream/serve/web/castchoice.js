/** Which members of the cast a shot may remember: a button for each, pressed for those that it does. */

import { address, storyPath } from "./api.js";
import { button, element, fill, picture } from "./dom.js";

/**
 * Makes the choice; it hides where there is no cast.
 * @param {() => string} story the id of the story at hand
 * @param {() => void} [changed] called when a person has chosen
 * @returns {{root: HTMLElement, show: (cast: import("./store.js").Member[], chosen?: number[]|null) => void,
 *   chosen: () => number[]|null}} `show` without `chosen` keeps what is chosen; null: all of them, whoever joins later
 */
export function makeCastChoice(story, changed = () => {}) {
  const members = element("span", { className: "faces" });
  const root = element("span", { className: "setting remembers", role: "group", "aria-label": "Cast of the shot" },
    element("span", { "aria-hidden": "true" }, "Cast"), members);
  const left = new Set();
  let cast = [];

  const face = ({ number, caption }) => {
    const toggle = () => {
      if (!left.delete(number)) left.add(number);
      made.setAttribute("aria-pressed", String(!left.has(number)));
      changed();
    };
    const made = button("", toggle, {
      className: "face", "aria-pressed": String(!left.has(number)), "aria-label": caption, title: `${caption}: remembered in this shot, or not`,
    });
    fill(made, picture(address(storyPath(story(), "cast", number, "picture")), ""));
    return made;
  };
  return {
    root,
    show(now, chosen) {
      const before = JSON.stringify([cast, [...left]]);
      if (chosen !== undefined) {
        left.clear();
        for (const { number } of now) if (chosen && !chosen.includes(number)) left.add(number);
      }
      cast = now;
      root.hidden = !cast.length;
      if (JSON.stringify([cast, [...left]]) !== before) fill(members, ...cast.map(face));
    },
    chosen() {
      const numbers = cast.map(({ number }) => number).filter((number) => !left.has(number));
      return numbers.length === cast.length ? null : numbers;
    },
  };
}
