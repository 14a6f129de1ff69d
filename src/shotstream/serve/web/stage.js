/** The picture: a canvas as large as there is room, its glow on the room's walls, and the video of a replay. */

import { address, storyPath } from "./api.js";
import { button, element, fill } from "./dom.js";
import { isPixelArt, scaleAs } from "./pixelart.js";
import { busy } from "./watching.js";

const WHOLE_FROM = 0.9;
const GLOW = { width: 16, height: 10 };
const GLOW_EVERY = 3;

/**
 * Makes the stage.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {{live: () => void, say: (text: string) => void, more: (take: {shot: number, take: number}) => void}} actions
 * @returns {{root: HTMLElement, draw: (picture: CanvasImageSource) => void,
 *   poster: (src: string, wanted: (blank: boolean) => boolean, shown: () => void) => void}}
 */
export function makeStage(store, actions) {
  const canvas = element("canvas", { className: "picture", role: "img", "aria-label": "The story as it is made", width: 0 });
  const glow = element("canvas", { className: "glow", "aria-hidden": "true", ...GLOW });
  const waiting = element("p", { className: "waiting" });
  const replay = element("div", { className: "replay", hidden: true });
  const frame = element("div", { className: "frame" }, canvas, waiting, replay);
  const root = element("section", { className: "stage", "aria-label": "Picture" }, glow, frame);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let drawn = 0;

  const draw = (picture) => {
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    if (drawn++ % GLOW_EVERY === 0 && !(calm.matches && drawn > 1)) {
      glow.getContext("2d").drawImage(picture, 0, 0, glow.width, glow.height);
    }
    waiting.hidden = true;
  };
  new ResizeObserver(() => fit(root, frame, canvas)).observe(root);

  store.watch(["story"], () => {
    drawn = 0;
    waiting.hidden = false;
    for (const one of [canvas, glow]) one.getContext("2d").clearRect(0, 0, one.width, one.height);
  });
  store.watch(["hello"], ({ hello }) => {
    scaleAs(document.body, hello?.width ?? Infinity);
    if (!hello || (canvas.width === hello.width && canvas.height === hello.height)) return;
    Object.assign(canvas, { width: hello.width, height: hello.height });
    fit(root, frame, canvas);
  });
  store.watch(["hello", "state"], (known) => {
    waiting.textContent = whatComes(known);
  });
  store.watch(["replay", "story"], ({ replay: taken, story }) => {
    replay.hidden = !taken;
    fill(replay, ...(taken ? playTake(story, taken, actions) : []));
  });

  const poster = (src, wanted, shown) => {
    const image = new Image();
    image.onload = () => {
      if (!wanted(drawn === 0)) return;
      draw(image);
      shown();
    };
    image.src = src;
  };
  return { root, draw, poster };
}

/** What an empty picture says. */
function whatComes({ hello, state }) {
  if (!hello || !state) return "";
  if (busy(state)) return "The first pictures are being made";
  if (state.queue.length) return "The shots are planned. Open the plan to tell them.";
  return state.branch.length ? "" : "What does the first shot show?";
}

function playTake(story, { shot, take }, { live, say, more }) {
  const src = address(storyPath(story, "takes", shot, take, "video"));
  const name = `Shot ${shot + 1}, take ${take + 1}`;
  const video = element("video", { src, controls: true, autoplay: true, "aria-label": name });
  video.onerror = () => say(`${name} cannot be replayed here.`);
  video.playsInline = true;
  const back = button("Back to live", live);
  back.append(element("kbd", {}, "Esc"));
  const all = button("More", () => more({ shot, take }), { "aria-label": "More: this shot", "aria-haspopup": "dialog" });
  return [video, element("div", { className: "back" }, all, back)];
}

/** Gives the picture the room there is; pixel art a whole number of screen pixels to each of its own where that is near. */
function fit(root, frame, canvas) {
  if (!canvas.width || !root.clientWidth) return;
  const room = Math.min(root.clientWidth / canvas.width, root.clientHeight / canvas.height);
  const whole = Math.floor(room * devicePixelRatio) / devicePixelRatio;
  const scale = isPixelArt(canvas.width) && whole > WHOLE_FROM * room ? whole : room;
  frame.style.width = `${canvas.width * scale}px`;
  frame.style.height = `${canvas.height * scale}px`;
}
