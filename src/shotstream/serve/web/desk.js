/** The director's desk: picture, filmstrip, prompt line. */

import { openBranches } from "./branches.js";
import { makeCast } from "./cast.js";
import { compareTakes } from "./compare.js";
import { makeDetails } from "./details.js";
import { dialogOpen } from "./dialog.js";
import { CHANGES, makeDirecting } from "./directing.js";
import { button, element } from "./dom.js";
import { openExports } from "./exports.js";
import { makeFilmstrip } from "./filmstrip.js";
import { openMemory } from "./memory.js";
import { Meter } from "./meter.js";
import { rename } from "./naming.js";
import { openPlan } from "./planning.js";
import { playAll } from "./playall.js";
import { makePrompt } from "./prompt.js";
import { openShot } from "./shotcard.js";
import { makeStage } from "./stage.js";
import { makeSuggestions } from "./suggestions.js";
import { siblings } from "./takes.js";
import { busy, watchStory } from "./watching.js";
import { makeWordsLink } from "./words.js";

/**
 * Makes the desk.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {ReturnType<import("./says.js").makeSays>} says
 * @param {() => void} leave goes to the start page
 * @returns {{root: HTMLElement, open: (story: string) => void, close: () => void}}
 */
export function makeDesk(store, says, leave) {
  let watching = null;
  const meter = new Meter();
  const send = (command) => watching.send(command);
  const told = { ...says, asked: () => meter.asked(performance.now()) };
  const directing = makeDirecting(store, send, told);
  const live = () => {
    directing.live();
    prompt.focus();
  };
  const stage = makeStage(store, { live, say: says.say, more: (take) => more(take) });
  const playFrom = ({ shot }) => playAll(store, shot, says.fail);
  /** Compares a take with the newest other one of its shot. */
  const compare = (take) => {
    const { story, hello, tree } = store.get();
    const other = siblings(tree.takes, take).findLast((one) => one.take !== take.take);
    return compareTakes(story, [take, other].sort((a, b) => a.take - b.take), hello.fps, directing);
  };
  const plan = (id) => openPlan(store, directing, id);
  /** A story that is only planned opens with its plan. */
  store.watch(["state"], ({ state, tree }) => {
    if (state?.paused && state.queue.length && !state.branch.length && !tree && !dialogOpen()) plan();
  });
  const exports = (shot = null) =>
    openExports(store.get().story, says, { shown: store.get().shown, shot }).catch(says.fail);
  const renameOpen = async () => {
    const { story, title: before, hello } = store.get();
    const title = await rename({ id: story, title: before, global_caption: hello.global_caption });
    if (title !== null && store.get().story === story) store.set({ title });
  };
  const more = (take) => openShot(store, take, { ...directing, playFrom, compare, exports: ({ shot }) => exports(shot) });
  const filmstrip = makeFilmstrip(store, { ...directing, more, editQueued: plan, console: () => prompt });
  const prompt = makePrompt(store, directing, says.say);

  const draw = (picture) => {
    stage.draw(picture);
    filmstrip.draw(picture);
  };
  const header = makeHeader(store, makeCast(store, directing, says), {
    leave,
    plan: () => plan(),
    undo: directing.undo,
    playAll: () => playFrom({ shot: 0 }),
    memory: () => openMemory(store.get().story, store.get().hello.fps).catch(says.fail),
    branches: () => openBranches(store, directing),
    rename: () => renameOpen().catch(says.fail),
    exports: () => exports(),
  });
  const root = element("main", { className: "desk", hidden: true },
    header,
    stage.root,
    element("div", { className: "below" }, makeNow(store), makeDetails(store, meter, () => watching?.seconds() ?? 0)),
    filmstrip.root,
    element("div", { className: "console" },
      prompt.root,
      element("div", { className: "aids" }, makeWordsLink(store, prompt.insert), makeSuggestions(store, prompt.write))));

  addEventListener("keydown", (event) => {
    if (root.hidden || event.isComposing) return;
    if (isUndo(event)) {
      event.preventDefault();
      directing.undo();
    }
    if (event.key !== "Escape" || dialogOpen()) return;
    const { replay, state } = store.get();
    if (replay) live();
    else if (state && busy(state)) directing.cut();
  });
  return {
    root,
    open(story) {
      watching = watchStory(story, { store, draw, poster: stage.poster, meter, says, leave });
      prompt.focus();
    },
    close() {
      watching?.close();
      watching = null;
    },
  };
}

function makeHeader(store, cast, acts) {
  const name = button("", acts.rename, { className: "quiet", title: "Rename the story", "aria-haspopup": "dialog" });
  const title = element("h1", {}, name);
  store.watch(["hello", "title"], ({ hello, title: given }) => {
    name.textContent = given || (hello?.global_caption ?? "");
    title.hidden = !hello;
    document.title = hello ? `${name.textContent} – ShotStream` : "ShotStream studio";
  });
  const opener = (label, action) => button(label, action, { className: "quiet", "aria-haspopup": "dialog" });
  const undo = button("Undo", acts.undo, { className: "quiet", "aria-keyshortcuts": "Control+Z" });
  const plan = opener("Plan", acts.plan);
  const memory = opener("Memory", acts.memory);
  const ofShots = [opener("Play all", acts.playAll), opener("Branches", acts.branches), opener("Export", acts.exports)];
  store.watch(["state"], ({ state }) => {
    for (const one of ofShots) one.disabled = !state?.branch.length;
    plan.disabled = memory.disabled = !state;
    undo.disabled = !state?.undo;
    undo.title = state?.undo ? `Takes back: ${CHANGES[state.undo]}` : "";
  });
  return element("header", { className: "top" },
    button("Stories", acts.leave, { className: "quiet home" }), title,
    element("div", { className: "tools" }, cast, memory, plan, undo, ...ofShots));
}

/** Whether a key means to undo a change of the story; in a field that is being written in, it undoes the writing. */
function isUndo(event) {
  const { target } = event;
  const pressed = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
  const writing = target.matches("input, textarea") && target.value !== (target.dataset.kept ?? "");
  return pressed && !writing && (!dialogOpen() || target.closest(".plan") !== null);
}

/** Which shot the picture shows. */
function makeNow(store) {
  const line = element("p", { className: "now" });
  store.watch(["shown", "state", "tree", "replay"], ({ shown, state, tree, replay }) => {
    const at = replay ?? shown;
    const { work } = state ?? {};
    const made = work && at?.shot === work.shot && at.take === work.take ? work : null;
    const take = made ?? tree?.takes.find((one) => one.shot === at?.shot && one.take === at?.take);
    const label = take ? `${replay ? "Replay of shot" : "Shot"} ${take.shot + 1}` : "";
    if (line.dataset.text === label + take?.text) return;
    line.dataset.text = label + take?.text;
    line.replaceChildren(...(take ? [element("strong", {}, label), ` ${take.text}`] : []));
  });
  return line;
}
