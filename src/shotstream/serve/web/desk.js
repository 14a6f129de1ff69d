/** The director's desk: picture, filmstrip, prompt line. */

import { openBranches } from "./branches.js";
import { makeCast } from "./cast.js";
import { compareTakes } from "./compare.js";
import { dialogOpen } from "./dialog.js";
import { makeDirecting } from "./directing.js";
import { button, element } from "./dom.js";
import { openExports } from "./exports.js";
import { makeFigures, Meter } from "./figures.js";
import { makeFilmstrip } from "./filmstrip.js";
import { playAll } from "./playall.js";
import { makePrompt } from "./prompt.js";
import { makeStage } from "./stage.js";
import { makeSuggestions } from "./suggestions.js";
import { siblings } from "./takes.js";
import { watchStory } from "./watching.js";
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
  const told = { ...says, asked: () => meter.asked(performance.now()), changed: () => watching.refresh() };
  const directing = makeDirecting(store, send, told);
  const live = () => {
    directing.live();
    prompt.focus();
  };
  const stage = makeStage(store, { live, say: says.say });
  const playFrom = ({ shot }) => playAll(store, shot, says.fail);
  /** Compares a take with the newest other one of its shot. */
  const compare = (take) => {
    const { story, hello, tree } = store.get();
    const other = siblings(tree.takes, take).findLast((one) => one.take !== take.take);
    return compareTakes(story, [take, other], hello.fps, directing);
  };
  const filmstrip = makeFilmstrip(store, { ...directing, playFrom, compare });
  const prompt = makePrompt(store, directing, says.say);

  const draw = (picture) => {
    stage.draw(picture);
    filmstrip.draw(picture);
  };
  const header = makeHeader(store, makeCast(store, told), {
    leave,
    playAll: () => playFrom({ shot: 0 }),
    branches: () => openBranches(store, directing),
    exports: () => openExports(store.get().story, says.say, says.fail),
  });
  const root = element("main", { className: "desk", hidden: true },
    header,
    stage.root,
    element("div", { className: "below" }, makeNow(store), makeFigures(meter, () => watching?.seconds() ?? 0)),
    filmstrip.root,
    element("div", { className: "console" },
      prompt.root,
      element("div", { className: "aids" }, makeWordsLink(store, prompt.insert), makeSuggestions(store, prompt.write))));

  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || root.hidden || dialogOpen()) return;
    const { replay, state } = store.get();
    if (replay) live();
    else if (state?.work || state?.queue.length) directing.cut();
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
  const title = element("h1", {});
  store.watch(["hello"], ({ hello }) => {
    title.textContent = hello?.global_caption ?? "";
    title.title = title.textContent;
    document.title = hello ? `${hello.global_caption} – ShotStream` : "ShotStream studio";
  });
  const opener = (label, action) => button(label, action, { className: "quiet", "aria-haspopup": "dialog" });
  const ofShots = [opener("Play all", acts.playAll), opener("Branches", acts.branches), opener("Export", acts.exports)];
  store.watch(["state"], ({ state }) => {
    for (const one of ofShots) one.disabled = !state?.branch.length;
  });
  return element("header", { className: "top" },
    button("Stories", acts.leave, { className: "quiet home" }), title, cast, ...ofShots);
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
