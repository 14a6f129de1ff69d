/** The story, one of its shots or a still as files to take away. */

import { ask, get, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element, fill } from "./dom.js";
import { seconds } from "./lengths.js";
import { isPixelArt } from "./pixelart.js";
import { along } from "./takes.js";

const FPS = 16;
const MOST_SCALE = 6;
const FADES = [0, 2, 4, 8, 16];
/** Kinds that have a size, and those that can have a sound. */
const PICTURES = new Set(["mp4", "webm", "gif", "png"]);
const FILMS = new Set(["mp4", "webm"]);
const KINDS = [
  ["mp4", "Video", "plays everywhere"],
  ["webm", "Video", "smaller, for web pages"],
  ["gif", "Moving picture", "for messages"],
  ["png", "Still", "of the story, the picture that is shown; of a shot, its last one"],
  ["yaml", "Script", "the captions and the cast; tells the story again"],
  ["zip", "Everything", "all takes; import it on any server"],
];

/**
 * Lets a person choose what, how large and which kind, and saves it.
 * @param {string} id of the story
 * @param {{say: (text: string) => void, fail: (error: Error) => void}} told
 * @param {{shown?: {shot: number, take: number, frame: number}|null, shot?: number|null}} [from] the frame on the screen,
 *   and the shot to begin with
 */
export async function openExports(id, told, { shown = null, shot = null } = {}) {
  const [story, tree] = await Promise.all([get(storyPath(id)), get(storyPath(id, "tree"))]);
  const form = makeForm(story, along(tree.takes, tree.current), shot);
  const kind = await openDialog("Export", (close) => [
    form.root,
    element("div", { className: "kinds" }, ...KINDS.map(([name, what, why]) => {
      const made = button("", () => close(name), { className: "kind" });
      fill(made, element("strong", {}, `.${name}`), element("span", {}, what), element("small", {}, why));
      return made;
    })),
  ]);
  if (kind) await save(id, kind, form.options(kind, shown), form.sound(kind), told.say).catch(told.fail);
}

/** What is exported, how large, with which cuts and which sound. */
function makeForm({ width, height }, takes, first) {
  const select = (options, value) =>
    element("select", {}, ...options.map(([name, text]) => element("option", { value: String(name), selected: name === value }, text)));
  const what = select([["", "The story"], ...takes.map(({ shot, text }) => [shot, `Shot ${shot + 1}: ${text}`])], first ?? "");
  const sizes = Array.from({ length: MOST_SCALE }, (_, at) => at + 1);
  const scale = select(sizes.map((by) => [by, `${by}×, ${by * width} × ${by * height}`]), 1);
  const filter = select([["nearest", "Sharp pixels"], ["lanczos", "Smooth"]], isPixelArt(width) ? "nearest" : "lanczos");
  const fade = select(FADES.map((frames) => [frames, frames ? `Cross-fade of ${seconds(frames, FPS)}` : "Hard cuts"]), 0);
  const sound = element("input", { type: "file", accept: "audio/*,.m4a" });
  const field = (name, control) => element("label", {}, element("span", {}, name), control);
  return {
    root: element("div", { className: "options" },
      field("What", what), field("Size", scale), field("Enlarged as", filter), field("Cuts", fade),
      field("Soundtrack of a video", sound)),
    options(kind, shown) {
      if (!PICTURES.has(kind)) return {};
      const still = kind === "png" && what.value === "" && shown;
      return {
        ...(what.value !== "" && { shot: what.value }), ...(still && shown), scale: scale.value, filter: filter.value,
        ...(kind !== "png" && fade.value !== "0" && what.value === "" && { fade: fade.value }),
      };
    },
    sound: (kind) => (FILMS.has(kind) ? (sound.files[0] ?? null) : null),
  };
}

/**
 * Shows a whole story as a video.
 * @param {{id: string, title: string, global_caption: string}} story
 * @param {(text: string) => void} say
 */
export async function watchWhole({ id, title, global_caption }, say) {
  say("The video is being written.");
  const src = URL.createObjectURL(await (await ask("GET", storyPath(id, "export", "mp4"))).blob());
  await openDialog(title || global_caption, () => [
    element("video", { className: "whole", src, controls: true, autoplay: true, "aria-label": title || global_caption }),
  ]);
  URL.revokeObjectURL(src);
}

async function save(story, kind, options, sound, say) {
  say(`The ${kind} is being written.`);
  const path = `${storyPath(story, "export", kind)}?${new URLSearchParams(options)}`;
  const reply = sound ? await ask("POST", path, { body: sound }) : await ask("GET", path);
  const [, name] = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition"));
  const url = URL.createObjectURL(await reply.blob());
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  say(`Saved as ${name}.`);
}
