/** The queued shots as cards that are edited, moved, copied and removed. */

import { arrange, button, element } from "./dom.js";
import { framesOf, MOST_CHUNKS, seconds } from "./lengths.js";

/**
 * Makes the list.
 * @param {number} fps
 * @param {ReturnType<import("./directing.js").makeDirecting>} directing
 * @returns {{root: HTMLElement, show: (shots: import("./store.js").QueuedShot[], first: number) => void,
 *   focus: (id: number) => void}} `show` numbers the shots from `first` on
 */
export function makeCards(fps, directing) {
  const root = element("ol", { className: "cards", "aria-label": "Planned shots" });
  const made = new Map();
  const cardOf = (id) => {
    if (!made.has(id)) made.set(id, makeCard(id, fps, directing));
    return made.get(id);
  };
  return {
    root,
    show(shots, first) {
      const focused = document.activeElement;
      const place = [...root.children].findIndex((one) => one.contains(focused));
      const kept = new Set(shots.map(({ id }) => id));
      for (const id of made.keys()) if (!kept.has(id)) made.delete(id);
      const cards = shots.map((shot, at) => cardOf(shot.id).show(shot, at, first + at, shots.length));
      arrange(root, cards.map((card) => card.root));
      if (place < 0 || !cards.length) return;
      if (root.contains(focused) && !focused.disabled) focused.focus();
      else (cards.find((card) => card.root.contains(focused)) ?? cards[Math.min(place, cards.length - 1)]).focus();
    },
    focus: (id) => made.get(id)?.focus(),
  };
}

function makeCard(id, fps, directing) {
  const number = element("span", { className: "number", "aria-hidden": "true" });
  const text = element("textarea", { rows: 2, maxLength: 2000, spellcheck: false, autocomplete: "off" });
  const chunks = element("input", { type: "number", min: 1, max: MOST_CHUNKS, step: 1, required: true });
  const length = element("output", {});
  const steers = element("p", { className: "hint" });
  let shown = null;
  let place = 0;
  const move = (by) => directing.move(id, place + by);
  const edit = () => {
    const caption = text.value.trim();
    if (!caption || !chunks.checkValidity()) return card.show(shown, place);
    return directing.edit({ ...shown, text: caption, chunks: chunks.valueAsNumber });
  };
  const acts = [["Up", () => move(-1)], ["Down", () => move(1)], ["Duplicate", () => directing.duplicate(id)],
    ["Remove", () => directing.remove(id)]].map(([name, action]) => button(name, action, { className: "quiet" }));
  text.onchange = chunks.onchange = edit;
  text.onkeydown = (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Enter" && !event.isComposing) text.blur();
    else if (event.altKey && by && place + by >= 0) move(by);
    else return;
    event.preventDefault();
  };
  const root = element("li", { className: "card" }, number, text, steers,
    element("div", { className: "row" },
      element("span", { className: "setting" }, element("span", { "aria-hidden": "true" }, "Length"), chunks, length), ...acts));

  const card = {
    root,
    focus: () => text.focus(),
    /** Shows a shot at a place of the list (from 0), as the shot of that number of the story (from 1). */
    show(shot, at, numbered = Number(number.textContent), of = root.parentElement?.children.length ?? 1) {
      [shown, place] = [shot, at];
      const name = `shot ${numbered}`;
      number.textContent = String(numbered);
      if (text.dataset.kept !== shot.text || document.activeElement !== text) text.value = shot.text;
      text.dataset.kept = shot.text;
      chunks.value = chunks.dataset.kept = String(shot.chunks);
      length.textContent = seconds(framesOf(shot.chunks), fps);
      steers.textContent = shot.steers.map((steer) => `From ${seconds(framesOf(steer.at), fps)} on: ${steer.text}`).join(" ");
      text.setAttribute("aria-label", `Caption of ${name}`);
      chunks.setAttribute("aria-label", `Length of ${name}, in chunks`);
      for (const one of acts) one.setAttribute("aria-label", `${one.textContent}: ${name}`);
      [acts[0].disabled, acts[1].disabled] = [at === 0, at === of - 1];
      return card;
    },
  };
  return card;
}
