/** Everything that can be done with one finished shot, in a dialog. */

import { address, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element, fill, picture } from "./dom.js";
import { framesOf, seconds } from "./lengths.js";
import { siblings } from "./takes.js";

/**
 * Shows a take's facts and lets a person choose what to do with it.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {{shot: number, take: number}} at which take
 * @param {Record<string, (take: import("./takes.js").Take) => void>} actions
 */
export async function openShot(store, at, actions) {
  const { story, tree, state, hello: { fps } } = store.get();
  const take = tree.takes.find((one) => one.shot === at.shot && one.take === at.take);
  const all = siblings(tree.takes, take);
  const last = take.shot === state.branch.length - 1;
  const choices = [
    ["playFrom", "Play from here", "plays the story from this shot on"],
    ["backTo", "Back to here", "goes on after this shot; what followed is kept as another branch"],
    ["retry", "Try again", "makes this shot with another seed; this take is kept"],
    last || ["retryRest", "Try again, keep the rest", "then makes all shots after it again, with their captions and seeds"],
    all.length > 1 && ["compare", "Compare takes", "plays this take and another one side by side"],
    ["exports", "Export", "this shot alone, as a video or a still"],
  ].filter(Array.isArray);
  const chosen = await openDialog(`Shot ${take.shot + 1}`, (close) => [
    element("p", { className: "spoken" }, take.text),
    ...take.steers.map((steer) => element("p", { className: "spoken" }, `From ${seconds(framesOf(steer.at), fps)} on: ${steer.text}`)),
    facts(story, take, all, fps),
    element("div", { className: "kinds" }, ...choices.map(([name, what, why]) => {
      const made = button("", () => close(name), { className: "kind wide" });
      fill(made, element("span", {}, what), " ", element("small", {}, why));
      return made;
    })),
  ]);
  if (chosen) actions[chosen](take);
}

function facts(story, take, all, fps) {
  const seed = element("code", {}, String(take.seed));
  const copy = button("Copy seed", async () => {
    await navigator.clipboard.writeText(String(take.seed));
    copy.textContent = "Copied";
  }, { className: "quiet" });
  const fact = (name, ...value) => element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
  return element("dl", { className: "facts" },
    fact("Take", `${1 + all.indexOf(take)} of ${all.length}`), fact("Length", seconds(take.frames, fps)), fact("Seed", seed, copy),
    take.cast.length > 0 && fact("Cast", ...take.cast.map(({ number, caption }) => element("span", { className: "known-member" },
      picture(address(storyPath(story, "cast", number, "picture")), ""), caption))));
}
