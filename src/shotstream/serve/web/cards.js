/** The queued shots as cards that are edited, moved, copied and removed. */

import { makeCastChoice } from "./castchoice.js";
import { arrange, button, element } from "./dom.js";
import { framesOf, MOST_CHUNKS, seconds } from "./lengths.js";

/**
 * Makes the list.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {ReturnType<import("./directing.js").makeDirecting>} directing
 * @returns {{root: HTMLElement,
 *   show: (shots: import("./store.js").QueuedShot[], first: number, cast: import("./store.js").Member[]) => void,
 *   focus: (id: number) => void}} `show` numbers the shots from `first` on
 */
export function makeCards(store, directing) {
  const root = element("ol", { className: "cards", "aria-label": "Planned shots" });
  const made = new Map();
  const cardOf = (id) => {
    if (!made.has(id)) made.set(id, makeCard(id, store.get(), directing));
    return made.get(id);
  };
  return {
    root,
    show(shots, first, cast) {
      const focused = document.activeElement;
      const place = [...root.children].findIndex((one) => one.contains(focused));
      const kept = new Set(shots.map(({ id }) => id));
      for (const id of made.keys()) if (!kept.has(id)) made.delete(id);
      const cards = shots.map((shot, at) => cardOf(shot.id).show(shot, { at, of: shots.length, number: first + at, cast }));
      arrange(root, cards.map((card) => card.root));
      if (place < 0 || !cards.length) return;
      if (root.contains(focused) && !focused.disabled) focused.focus();
      else (cards.find((card) => card.root.contains(focused)) ?? cards[Math.min(place, cards.length - 1)]).focus();
    },
    focus: (id) => made.get(id)?.focus(),
  };
}

function makeCard(id, { story, hello: { fps } }, directing) {
  const number = element("span", { className: "number", "aria-hidden": "true" });
  const text = element("textarea", { rows: 2, maxLength: 2000, spellcheck: false, autocomplete: "off" });
  const chunks = element("input", { type: "number", min: 1, max: MOST_CHUNKS, step: 1, required: true });
  const length = element("output", {});
  const steers = element("p", { className: "hint" });
  let shown = null;
  let place = null;
  const move = (by) => directing.move(id, place.at + by);
  /** Sends what the card says; where it cannot be, the card shows the shot as it is. */
  const edit = async () => {
    const caption = text.value.trim();
    const wanted = { ...shown, text: caption, chunks: chunks.valueAsNumber, cast: cast.chosen() };
    const sound = caption && chunks.checkValidity();
    if (sound && (await directing.edit(wanted))) return;
    for (const field of [text, chunks]) field.value = field.dataset.kept;
    card.show(shown, place);
  };
  const cast = makeCastChoice(() => story, edit);
  const acts = [["Up", () => move(-1)], ["Down", () => move(1)], ["Duplicate", () => directing.duplicate(id)],
    ["Remove", () => directing.remove(id)]].map(([name, action]) => button(name, action, { className: "quiet" }));
  text.onchange = chunks.onchange = edit;
  text.onkeydown = (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Enter" && !event.isComposing) text.blur();
    else if (event.altKey && by && place.at + by >= 0) move(by);
    else return;
    event.preventDefault();
  };
  const root = element("li", { className: "card" }, number, text, steers,
    element("div", { className: "row" },
      element("span", { className: "setting" }, element("span", { "aria-hidden": "true" }, "Length"), chunks, length),
      cast.root, ...acts));

  const card = {
    root,
    focus: () => text.focus(),
    /** Shows a shot at place `at` (from 0) of `of`, as the shot of that number of the story (from 1). */
    show(shot, here) {
      [shown, place] = [shot, here];
      const name = `shot ${here.number}`;
      number.textContent = String(here.number);
      keep(text, shot.text);
      keep(chunks, String(shot.chunks));
      cast.show(here.cast, shot.cast);
      length.textContent = seconds(framesOf(shot.chunks), fps);
      steers.textContent = shot.steers.map((steer) => `From ${seconds(framesOf(steer.at), fps)} on: ${steer.text}`).join(" ");
      text.setAttribute("aria-label", `Caption of ${name}`);
      chunks.setAttribute("aria-label", `Length of ${name}, in parts`);
      cast.root.setAttribute("aria-label", `Cast of ${name}`);
      for (const one of acts) one.setAttribute("aria-label", `${one.textContent}: ${name}`);
      [acts[0].disabled, acts[1].disabled] = [here.at === 0, here.at === here.of - 1];
      return card;
    },
  };
  return card;
}

/** Shows what the server has, unless a person has written something else in the field that is not sent yet. */
function keep(field, value) {
  if (field.value === (field.dataset.kept ?? "")) field.value = value;
  field.dataset.kept = value;
}
