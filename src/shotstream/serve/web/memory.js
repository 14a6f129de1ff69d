/** What the model remembers: the context frames of the shot in the making, or of the next one. */

import { address, get, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { element, picture } from "./dom.js";
import { seconds } from "./lengths.js";

/**
 * Shows the frames.
 * @param {string} story
 * @param {number} fps
 * @throws {import("./api.js").ServerError} nobody can say which frames they are
 */
export async function openMemory(story, fps) {
  const { shot, frames } = await get(storyPath(story, "context"));
  const items = frames.map((one) => {
    const member = one.cast !== null;
    const src = member
      ? address(storyPath(story, "cast", one.cast.number, "picture"))
      : address(storyPath(story, "takes", one.shot, one.take, "picture"), { frame: one.frame });
    const name = member ? `Cast: ${one.cast.caption}` : `Shot ${one.shot + 1}, at ${seconds(one.frame, fps)}`;
    return element("li", {}, picture(src, name), element("small", { "aria-hidden": "true" }, name));
  });
  const what = frames.length
    ? "The model sees these frames while it makes the shot; all else of the story it has forgotten."
    : "Nothing: there is no shot before it, and no cast.";
  await openDialog(`What shot ${shot + 1} remembers`, () => [
    element("p", {}, what), element("ol", { className: "memory", "aria-label": "Frames" }, ...items),
  ], { className: "wide" });
}
