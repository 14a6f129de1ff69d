/** Two takes side by side, playing together. */

import { address, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./dom.js";
import { seconds } from "./lengths.js";

/**
 * Plays two takes side by side; a person may go to one of them.
 * @param {string} story
 * @param {import("./takes.js").Take[]} takes two of them
 * @param {number} fps
 * @param {{choose: (take: import("./takes.js").Take) => Promise<boolean>}} actions
 */
export async function compareTakes(story, takes, fps, actions) {
  const videos = takes.map((take) => videoOf(story, take));
  const playBoth = () => {
    for (const video of videos) {
      video.currentTime = 0;
      video.play().catch(() => {});
    }
  };
  /** Both begin together, and begin again once the longer one has ended. */
  for (const video of videos) {
    video.oncanplaythrough = () => videos.every((one) => one.readyState >= 3) && video.currentTime === 0 && playBoth();
    video.onended = () => videos.every((one) => one.ended) && playBoth();
  }
  const kept = await openDialog("Two takes side by side", (close) => [
    element("div", { className: "pair" }, ...takes.map((take, at) => {
      const name = `Shot ${take.shot + 1}, take ${take.take + 1}`;
      return element("section", { "aria-label": name },
        element("h3", {}, name), videos[at], element("p", { className: "spoken" }, take.text),
        element("p", {}, `Seed ${take.seed} · ${seconds(take.frames, fps)}`),
        button("Go to this take", () => close(String(at)), { "aria-label": `Go to this take: ${name}` }));
    })),
    element("div", { className: "choice" }, button("Play again", playBoth, { autofocus: true })),
  ], { className: "wide" });
  for (const video of videos) video.removeAttribute("src");
  if (kept) await actions.choose(takes[Number(kept)]);
}

function videoOf(story, { shot, take }) {
  const src = address(storyPath(story, "takes", shot, take, "video"));
  return element("video", { src, muted: true, playsInline: true, preload: "auto", "aria-label": `Shot ${shot + 1}, take ${take + 1}` });
}
