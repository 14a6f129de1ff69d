/** The story as files to take away. */

import { ask, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element, fill } from "./dom.js";

const KINDS = [
  ["mp4", "Video", "plays everywhere"],
  ["webm", "Video", "VP9, for the web"],
  ["gif", "Moving picture", "for messages"],
  ["yaml", "Script", "the captions, and the cast; tells the story again"],
  ["zip", "Everything", "all takes; import it on any server"],
];

/**
 * Lets a person choose a kind, and saves it.
 * @param {string} story
 * @param {(text: string) => void} say
 * @param {(error: Error) => void} fail
 */
export async function openExports(story, say, fail) {
  const kind = await openDialog("Export", (close) => [
    element("div", { className: "kinds" }, ...KINDS.map(([name, what, why]) => {
      const made = button("", () => close(name), { className: "kind" });
      fill(made, element("strong", {}, `.${name}`), element("span", {}, what), element("small", {}, why));
      return made;
    })),
  ]);
  if (kind) await save(story, kind, say).catch(fail);
}

/**
 * Shows a whole story as a video.
 * @param {{id: string, global_caption: string}} story
 * @param {(text: string) => void} say
 */
export async function watchWhole({ id, global_caption: title }, say) {
  say("The video is being written.");
  const src = URL.createObjectURL(await (await ask("GET", storyPath(id, "export", "mp4"))).blob());
  await openDialog(title, () => [
    element("video", { className: "whole", src, controls: true, autoplay: true, "aria-label": title }),
  ]);
  URL.revokeObjectURL(src);
}

async function save(story, kind, say) {
  say(`The ${kind} is being written.`);
  const reply = await ask("GET", storyPath(story, "export", kind));
  const [, name] = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition"));
  const url = URL.createObjectURL(await reply.blob());
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  say(`Saved as ${name}.`);
}
