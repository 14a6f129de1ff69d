/** Plays the whole story over the whole window: a timeline of its shots to scrub over, loop, and full screen. */

import { address, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element, fill, picture } from "./dom.js";
import { Reel } from "./reel.js";
import { along } from "./takes.js";
import { clock, segmentsOf } from "./timeline.js";

const STEP_S = 1;

/**
 * Plays the current branch from a shot on, until the dialog is closed.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {number} first the shot to begin with, from 0
 * @param {(error: Error) => void} fail
 */
export async function playAll(store, first, fail) {
  const { story, hello } = store.get();
  const segments = () => {
    const { tree, state } = store.get();
    return tree && state ? segmentsOf(along(tree.takes, state.branch), hello.fps) : [];
  };
  if (!segments().length) return;
  const source = ({ shot, take }) => address(storyPath(story, "takes", shot, take, "video"));
  const reel = new Reel(source, segments, fail);
  let open = true;
  const controls = makeControls(reel, story);
  const tick = () => {
    if (!open) return;
    controls.show();
    requestAnimationFrame(tick);
  };
  reel.playing = true;
  reel.seek(reel.segments[Math.min(first, reel.segments.length - 1)].start);
  tick();
  const options = { className: "theatre", onkeydown: controls.press };
  await openDialog(store.get().title || hello.global_caption, () => [element("div", { className: "hall" }, reel.root, controls.root)], options);
  open = false;
  reel.close();
}

function makeControls(reel, story) {
  const caption = element("p", { className: "subtitle" });
  const time = element("output", { className: "clock" });
  const toggle = () => (reel.playing ? reel.pause() : reel.play());
  const play = button("Pause", toggle, { className: "primary play", autofocus: true, "aria-keyshortcuts": "Space" });
  const loop = button("Loop", () => {
    reel.loop = !reel.loop;
    loop.setAttribute("aria-pressed", String(reel.loop));
  }, { className: "quiet", "aria-pressed": "false", "aria-keyshortcuts": "L" });
  const whole = button("Full screen", () => toggleFullScreen(root), { className: "quiet", "aria-keyshortcuts": "F" });
  whole.hidden = !document.fullscreenEnabled;
  const timeline = makeTimeline(reel, story);
  const root = element("div", { className: "controls" },
    caption, timeline.root,
    element("div", { className: "row" }, play, time, loop, whole));

  const keys = {
    " ": toggle,
    ArrowLeft: (event) => (event.shiftKey ? reel.skip(-1) : reel.seek(reel.time - STEP_S)),
    ArrowRight: (event) => (event.shiftKey ? reel.skip(1) : reel.seek(reel.time + STEP_S)),
    Home: () => reel.seek(0),
    End: () => reel.seek(reel.length),
    l: () => loop.click(),
    f: () => whole.click(),
  };
  let drawn = null;
  const press = (event) => {
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.matches("button")) return;
    event.preventDefault();
    action(event);
  };
  return {
    root,
    press,
    show() {
      const { take } = reel.segments[reel.index];
      if (take !== drawn) fill(caption, element("strong", {}, `Shot ${take.shot + 1}`), ` ${take.text}`);
      drawn = take;
      time.textContent = `${clock(reel.time)} / ${clock(reel.length)}`;
      play.textContent = reel.playing ? "Pause" : "Play";
      timeline.show();
    },
  };
}

/** The shots side by side, each as wide as it is long, under a slider. */
function makeTimeline(reel, story) {
  const shots = element("ol", { className: "segments", "aria-hidden": "true" });
  const slider = element("input", { type: "range", min: "0", step: "any", "aria-label": "Position in the story" });
  slider.oninput = () => reel.seek(slider.valueAsNumber);
  let drawn = null;
  const draw = () => {
    drawn = reel.segments;
    slider.max = String(reel.length);
    fill(shots, ...drawn.map(({ take, start }) => {
      const src = address(storyPath(story, "takes", take.shot, take.take, "picture"));
      const one = element("li", { title: take.text }, picture(src, ""), element("span", {}, clock(start)));
      one.style.flexGrow = String(take.frames);
      return one;
    }));
  };
  return {
    root: element("div", { className: "timeline" }, shots, slider),
    show() {
      if (drawn !== reel.segments) draw();
      slider.value = String(reel.time);
      const { take } = reel.segments[reel.index];
      slider.setAttribute("aria-valuetext", `Shot ${take.shot + 1}, ${clock(reel.time)} of ${clock(reel.length)}`);
      [...shots.children].forEach((one, at) => one.classList.toggle("current", at === reel.index));
    },
  };
}

/** A dialog itself may not be full screen, but what is in it may. */
function toggleFullScreen(inside) {
  if (document.fullscreenElement) document.exitFullscreen();
  else inside.closest(".hall").requestFullscreen();
}
