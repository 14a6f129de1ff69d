/** The stories on the server: open, remove, import. */

import { address, ask, get, storyPath } from "./api.js";
import { confirmed } from "./dialog.js";
import { button, element, fill, picture } from "./dom.js";
import { openExports, watchWhole } from "./exports.js";
import { seconds } from "./lengths.js";
import { chooseForStory, duplicate, rename } from "./naming.js";
import { scaleAs } from "./pixelart.js";

const FPS = 16;
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/**
 * Makes the list of stories.
 * @param {(story: string) => void} open
 * @param {{say: (text: string) => void, fail: (error: Error) => void}} told
 * @returns {{root: HTMLElement, refresh: () => Promise<void>}}
 */
export function makeStories(open, told) {
  const list = element("ul", { className: "stories" });
  const none = element("p", { className: "none" }, "None yet. The one you begin will be kept here.");
  const input = element("input", {
    type: "file", accept: ".zip,application/zip", hidden: true, className: "zip-file", "aria-label": "Story as a zip",
  });
  const bring = button("Import a zip", () => input.click(), { className: "quiet" });
  const refresh = async () => {
    const stories = await get("api/stories").catch(told.fail);
    if (!stories) return;
    none.hidden = stories.length > 0;
    fill(list, ...stories.map((story) => row(story, () => more(story), told)));
  };
  const acts = {
    async rename(story) {
      if ((await rename(story)) !== null) await refresh();
    },
    async duplicate(story) {
      const { title } = await duplicate(story);
      await refresh();
      told.say(`The copy is called “${title}”.`);
    },
    exports: (story) => openExports(story.id, told),
    remove: (story) => remove(story),
  };
  const more = async (story) => {
    const chosen = await chooseForStory(story);
    if (chosen) await Promise.resolve(acts[chosen](story)).catch(told.fail);
  };
  const remove = async (story) => {
    const text = `“${story.title || story.global_caption}” and all its takes will be gone for good.`;
    if (!(await confirmed("Remove this story?", text, "Remove it"))) return;
    await ask("DELETE", storyPath(story.id)).then(() => told.say("The story is removed."), told.fail);
    await refresh();
    bring.focus();
  };
  input.onchange = async () => {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    told.say("The story is being brought in.");
    const story = await ask("POST", "api/import", { body: file }).then((reply) => reply.json()).catch(told.fail);
    if (!story) return;
    if (!story.other_model) {
      open(story.id);
      return;
    }
    await refresh();
    told.say("The story is here, but another model made it: it can be watched and exported, not gone on with.");
  };
  const root = element("section", { "aria-labelledby": "stories-title" },
    element("header", { className: "row" }, element("h2", { id: "stories-title" }, "Stories on this server"), bring, input),
    none, list);
  return { root, refresh };
}

function row(story, more, told) {
  const name = story.title || story.global_caption;
  const image = story.shots ? picture(address(storyPath(story.id, "takes", 0, 0, "picture")), "") : null;
  const made = `${story.shots} ${story.shots === 1 ? "shot" : "shots"} · ${seconds(story.frames, FPS)} · ${ago(story.created_s)}`;
  const thumb = element("span", { className: "thumb" }, image);
  scaleAs(thumb, story.width);
  const what = [
    thumb,
    element("span", { className: "what" }, element("strong", {}, name), story.title && element("span", {}, story.global_caption),
      element("small", {}, story.other_model ? `${made} · made by another model` : made)),
  ];
  const act = (label, action) => button(label, action, { className: "quiet", "aria-label": `${label}: ${name}` });
  const shown = story.other_model
    ? [element("div", { className: "open" }, ...what), act("Watch", () => watchWhole(story, told.say).catch(told.fail))]
    : [element("a", { className: "open", href: `#${story.id}` }, ...what)];
  return element("li", {}, ...shown, act("More", more));
}

/** How long ago a time was, in words. @param {number} createdS seconds since 1970 @returns {string} */
function ago(createdS) {
  const passed = Date.now() / 1000 - createdS;
  const [unit, length] = UNITS.find(([, size]) => passed >= size) ?? [null, 0];
  if (unit === null) return "just now";
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.floor(passed / length), unit);
}
