/** The queued shots as cards that are edited, moved, copied and removed. */

import { keep, makeCaptionField } from "./captionfield.js";
import { makeCastChoice } from "./castchoice.js";
import { arrange, button, element, fill } from "./dom.js";
import { framesOf, lengths, seconds } from "./lengths.js";

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

function makeCard(id, { story, hello: { fps, global_caption } }, directing) {
  const number = element("span", { className: "number", "aria-hidden": "true" });
  const chunks = element("input", { type: "number", min: 1, max: lengths().longest_chunks, step: 1, required: true });
  const length = element("output", {});
  let shown = null;
  let place = null;
  const move = (by) => directing.move(id, place.at + by);
  /** Sends what the card says; where it cannot be, the card shows the shot as it is. */
  const edit = async () => {
    const wanted = {
      ...shown, text: text.text(), chunks: chunks.valueAsNumber, cast: cast.chosen(), steers: steers.read(chunks.valueAsNumber),
    };
    const sound = wanted.text && chunks.checkValidity();
    if (sound && (await directing.edit(wanted))) return;
    for (const one of [text, steers]) one.reset();
    chunks.value = chunks.dataset.kept;
    card.show(shown, place);
  };
  const text = makeCaptionField(global_caption, edit);
  const steers = makeSteers(global_caption, fps, edit);
  const cast = makeCastChoice(() => story, edit);
  const acts = [["Up", () => move(-1)], ["Down", () => move(1)], ["Duplicate", () => directing.duplicate(id)],
    ["Remove", () => directing.remove(id)]].map(([name, action]) => button(name, action, { className: "quiet" }));
  chunks.onchange = edit;
  const root = element("li", { className: "card" }, number, text.root, steers.root,
    element("div", { className: "row" },
      element("span", { className: "setting" }, element("span", { "aria-hidden": "true" }, "Length"), chunks, length),
      cast.root, ...acts));
  root.onkeydown = (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!event.target.matches("textarea")) return;
    if (event.key === "Enter" && !event.isComposing) event.target.blur();
    else if (event.altKey && by && place.at + by >= 0) move(by);
    else return;
    event.preventDefault();
  };

  const card = {
    root,
    focus: () => text.field.focus(),
    /** Shows a shot at place `at` (from 0) of `of`, as the shot of that number of the story (from 1). */
    show(shot, here) {
      [shown, place] = [shot, here];
      const name = `shot ${here.number}`;
      number.textContent = String(here.number);
      text.show(shot.text, here.number - 1, `Caption of ${name}`);
      steers.show(shot.steers, here.number - 1, name);
      keep(chunks, String(shot.chunks));
      cast.show(here.cast, shot.cast);
      length.textContent = seconds(framesOf(shot.chunks), fps);
      chunks.setAttribute("aria-label", `Length of ${name}, in parts`);
      cast.root.setAttribute("aria-label", `Cast of ${name}`);
      for (const one of acts) one.setAttribute("aria-label", `${one.textContent}: ${name}`);
      [acts[0].disabled, acts[1].disabled] = [here.at === 0, here.at === here.of - 1];
      return card;
    },
  };
  return card;
}

/** The steers of a planned shot: from which time on it has which other caption. One without a caption is removed. */
function makeSteers(globalCaption, fps, changed) {
  const root = element("div", { className: "steers" });
  let fields = [];
  let removers = [];
  let starts = [];
  const remove = (field) => {
    field.value = "";
    changed();
  };
  return {
    root,
    /** The steers that begin within that many chunks. @param {number} chunks */
    read: (chunks) =>
      starts.map((at, index) => ({ at, text: fields[index].text() })).filter(({ at, text }) => text && at < chunks),
    reset: () => fields.forEach((field) => field.reset()),
    show(steers, shot, name) {
      const now = steers.map(({ at }) => at);
      const start = (at) => `from ${seconds(framesOf(at), fps)} on`;
      if (String(now) !== String(starts)) {
        [starts, fields] = [now, now.map(() => makeCaptionField(globalCaption, changed))];
        removers = fields.map(({ field }) => button("Remove", () => remove(field), { className: "quiet" }));
        fill(root, ...now.flatMap((at, index) =>
          [element("span", { className: "hint" }, start(at).replace("from", "From")), fields[index].root, removers[index]]));
      }
      steers.forEach(({ at, text }, index) => {
        fields[index].show(text, shot, `Steer ${index + 1} of ${name}`);
        removers[index].setAttribute("aria-label", `Remove the steer ${start(at)}: ${name}`);
      });
    },
  };
}
