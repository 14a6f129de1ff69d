/** Everything that can be done with one finished shot, in a dialog. */

import { openDialog } from "./dialog.js";
import { button, element, fill } from "./dom.js";
import { framesOf, seconds } from "./lengths.js";

/**
 * Shows a take's facts and lets a person choose what to do with it.
 * @param {object} shot
 * @param {import("./takes.js").Take} shot.take
 * @param {number} shot.number which of the shot's takes it is, from 1
 * @param {number} shot.others how many takes the shot has
 * @param {boolean} shot.last whether it is the last shot of the branch
 * @param {number} shot.fps
 * @param {Record<string, (take: import("./takes.js").Take) => void>} actions
 */
export async function openShot({ take, number, others, last, fps }, actions) {
  const choices = [
    ["playFrom", "Play from here", "plays the story from this shot on"],
    ["backTo", "Back to here", "goes on after this shot; what followed is kept as another branch"],
    ["retry", "Try again", "makes this shot with another seed; this take is kept"],
    last || ["retryRest", "Try again, keep the rest", "then makes all shots after it again, with their captions and seeds"],
    others > 1 && ["compare", "Compare takes", "plays this take and another one side by side"],
  ].filter(Array.isArray);
  const chosen = await openDialog(`Shot ${take.shot + 1}`, (close) => [
    element("p", { className: "spoken" }, take.text),
    ...take.steers.map((steer) => element("p", { className: "spoken" }, `From ${seconds(framesOf(steer.at), fps)} on: ${steer.text}`)),
    facts({ take, number, others, fps }),
    element("div", { className: "kinds" }, ...choices.map(([name, what, why]) => {
      const made = button("", () => close(name), { className: "kind wide" });
      fill(made, element("span", {}, what), " ", element("small", {}, why));
      return made;
    })),
  ]);
  if (chosen) actions[chosen](take);
}

function facts({ take, number, others, fps }) {
  const seed = element("code", {}, String(take.seed));
  const copy = button("Copy seed", async () => {
    await navigator.clipboard.writeText(String(take.seed));
    copy.textContent = "Copied";
  }, { className: "quiet" });
  const fact = (name, ...value) => element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
  return element("dl", { className: "facts" },
    fact("Take", `${number} of ${others}`), fact("Length", seconds(take.frames, fps)), fact("Seed", seed, copy));
}
