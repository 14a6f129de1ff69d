/** The filmstrip: the shots of the current branch, the one in the making, and what is queued. */

import { address, storyPath } from "./api.js";
import { arrange, button, element, fill, picture } from "./dom.js";
import { framesOf, seconds } from "./lengths.js";
import { along, choices } from "./takes.js";

/**
 * Makes the filmstrip.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {Record<string, (what: any) => any>} actions of takes: replay, retry, choose, more; of ids of queued
 *   shots: editQueued, remove; and console, which returns what has the focus where its card is gone
 * @returns {{root: HTMLElement, draw: (picture: CanvasImageSource) => void}}
 */
export function makeFilmstrip(store, actions) {
  const strip = element("ol", { className: "strip", "aria-label": "Shots" });
  const root = element("section", { className: "filmstrip", "aria-label": "Filmstrip" }, strip);
  const live = element("canvas", { className: "live", width: 64, height: 40, "aria-hidden": "true" });
  const cards = new Map();
  /** The take that was chosen on its card, which is replaced by another that the focus is to go to. */
  let chosen = null;
  const choose = async (take) => {
    chosen = nameOf(take);
    if (!(await actions.choose(take))) chosen = null;
  };

  /** The card that shows exactly this; one that stands already is kept. */
  const keep = (shows, make) => {
    const key = JSON.stringify(shows);
    if (!cards.has(key)) cards.set(key, make());
    return [key, cards.get(key)];
  };
  store.watch(["story", "hello", "state", "tree", "replay"], (known) => {
    const shown = known.hello && known.state ? cardsOf(known, { ...actions, choose }, keep, live) : [];
    const kept = new Set(shown.map(([key]) => key));
    for (const key of cards.keys()) if (!kept.has(key)) cards.delete(key);
    const before = strip.children.length;
    const place = [...strip.children].findIndex((one) => one.contains(document.activeElement));
    arrange(strip, shown.map(([, card]) => card));
    root.classList.toggle("empty", !shown.length);
    if (strip.children.length > before) showNewest(strip);
    const card = strip.querySelector(`[data-take="${chosen}"]`);
    const lost = document.activeElement === document.body;
    if (card) {
      if (lost) (card.querySelector("select") ?? card.querySelector(".take")).focus();
      chosen = null;
    } else if (lost && place >= 0 && chosen === null) {
      const near = strip.children[Math.min(place, strip.children.length - 1)];
      (near?.querySelector("button") ?? actions.console()).focus();
    }
  });
  return { root, draw: (frame) => live.getContext("2d").drawImage(frame, 0, 0, live.width, live.height) };
}

function nameOf({ shot, take }) {
  return `${shot}.${take}`;
}

/** Scrolls to the shot in the making, or else to the first that waits, or else to the end. */
function showNewest(strip) {
  const newest = strip.querySelector(".making, .queued") ?? strip.lastElementChild;
  strip.scrollTo({ left: newest.offsetLeft + newest.offsetWidth - 0.75 * strip.clientWidth });
}

function cardsOf({ story, hello, state, tree, replay }, actions, keep, live) {
  const { branch, work, queue, paused } = state;
  const takes = tree?.takes ?? [];
  const finished = along(takes, branch).map((take) => {
    const others = choices(takes, branch, take.shot);
    const facts = { story, take, others: others.length, fps: hello.fps };
    const [key, card] = keep(facts, () => shotCard({ ...facts, others }, actions));
    const replayed = replay?.shot === take.shot && replay.take === take.take;
    card.classList.toggle("replayed", replayed);
    card.querySelector(".take").setAttribute("aria-pressed", String(replayed));
    return [key, card];
  });
  const made = work ? [keep({ work }, () => workCard(work, hello.fps, live))] : [];
  const waiting = queue.map((shot, at) => {
    const facts = { shot, number: branch.length + at + (work ? 2 : 1), paused };
    return keep(facts, () => queueCard(facts, hello.fps, actions));
  });
  const ahead = work || queue.length ? [] : choices(takes, branch, branch.length);
  const ghost = ahead.length ? [keep({ branch, ahead }, () => aheadCard(ahead, actions))] : [];
  return [...finished, ...made, ...waiting, ...ghost];
}

function shotCard({ story, take, others, fps }, actions) {
  const name = `shot ${take.shot + 1}`;
  const src = address(storyPath(story, "takes", take.shot, take.take, "picture"));
  const replay = button("", () => actions.replay(take), {
    className: "take",
    "aria-label": `Replay ${name}, ${seconds(take.frames, fps)}: ${take.text}`,
  });
  fill(replay, picture(src, ""));
  const thumb = element(
    "div",
    { className: "thumb" },
    replay,
    element("span", { className: "number", "aria-hidden": "true" }, String(take.shot + 1)),
    element("span", { className: "length", "aria-hidden": "true" }, seconds(take.frames, fps)),
  );
  const acts = element(
    "div",
    { className: "acts" },
    button("Try again", () => actions.retry(take), {
      "aria-label": `Try again: ${name}`,
      title: `Make ${name} again with another seed; this take is kept`,
    }),
    button("More", () => actions.more(take), {
      "aria-label": `More: ${name}`,
      "aria-haspopup": "dialog",
      title: `Everything that can be done with ${name}`,
    }),
  );
  return element(
    "li",
    { className: "shot", "data-take": nameOf(take) },
    thumb,
    acts,
    element("p", { className: "caption", title: take.text }, take.text),
    others.length > 1 && takeChoice(others, take, `Take of ${name}`, actions),
  );
}

/**
 * Chooses among takes, and with them among branches: by the button or Enter, since arrow keys only look through them.
 * `chosen` null: none is stood on.
 */
function takeChoice(takes, chosen, label, actions) {
  const options = takes.map((take, at) => {
    const text = `Take ${at + 1} of ${takes.length}`;
    return element("option", { value: String(take.take), selected: take.take === chosen?.take, title: take.text }, text);
  });
  if (!chosen) options.unshift(element("option", { value: "", selected: true }, "Go on with …"));
  const select = element("select", { "aria-label": label }, ...options);
  const wanted = () => takes.find((one) => String(one.take) === select.value && one.take !== chosen?.take);
  const go = button("Go", () => wanted() && actions.choose(wanted()), {
    disabled: true, "aria-label": `Go to: ${label[0].toLowerCase()}${label.slice(1)}`,
  });
  select.onchange = () => (go.disabled = !wanted());
  select.onkeydown = (event) => {
    if (event.key !== "Enter" || !wanted()) return;
    event.preventDefault();
    go.click();
  };
  return element("div", { className: "takes" }, select, go);
}

function workCard(work, fps, live) {
  const done = `${work.made} of ${work.chunks} parts`;
  const steps = Array.from({ length: work.chunks }, (_, at) => element("i", { className: at < work.made ? "done" : "" }));
  const progress = element(
    "div",
    {
      className: "progress",
      role: "progressbar",
      "aria-label": "The shot in the making",
      "aria-valuemin": "0",
      "aria-valuemax": String(work.chunks),
      "aria-valuenow": String(work.made),
      "aria-valuetext": done,
    },
    ...steps,
  );
  return element(
    "li",
    { className: "shot making", "aria-label": `Shot ${work.shot + 1}, in the making` },
    element("div", { className: "thumb" }, live, element("span", { className: "number" }, String(work.shot + 1)),
      element("span", { className: "length" }, seconds(framesOf(work.chunks), fps)), progress),
    element("p", { className: "caption", title: work.text }, work.text),
  );
}

function queueCard({ shot: { id, text, chunks }, number, paused }, fps, actions) {
  const how = paused ? "planned" : "queued";
  const act = (name, action) => button(name, action, { "aria-label": `${name}: shot ${number}` });
  return element(
    "li",
    { className: "shot queued", "aria-label": `Shot ${number}, ${how}` },
    element("div", { className: "thumb" }, element("span", { className: "number" }, String(number)),
      element("span", { className: "length" }, `${how}, ${seconds(framesOf(chunks), fps)}`)),
    element("div", { className: "acts" }, act("Edit", () => actions.editQueued(id)), act("Remove", () => actions.remove(id))),
    element("p", { className: "caption", title: text }, text),
  );
}

/** Takes that follow the end of the branch: where the story was before it went back. */
function aheadCard(ahead, actions) {
  const label = ahead.length > 1 ? `${ahead.length} takes lie ahead` : "A take lies ahead";
  return element(
    "li",
    { className: "shot ahead" },
    element("p", { className: "caption" }, `${label}. The next shot becomes another.`),
    takeChoice(ahead, null, "Take that was made before", actions),
  );
}
