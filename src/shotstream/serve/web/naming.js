/** A story's title, and what else can be done with a story as a whole. */

import { ask, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element, fill } from "./dom.js";

const MOST_LETTERS = 200;

/**
 * Asks for another title and gives it to a story.
 * @param {{id: string, title: string, global_caption: string}} story
 * @returns {Promise<string|null>} the title, "" where the caption stands for it; null where it was left as it is
 * @throws {import("./api.js").ServerError}
 */
export async function rename({ id, title, global_caption }) {
  const field = element("input", {
    value: title, maxLength: MOST_LETTERS, autofocus: true, autocomplete: "off", placeholder: global_caption, "aria-label": "Title",
  });
  const answer = await openDialog("Rename the story", (close) => {
    const form = element("form", {}, element("p", {}, "Left empty, its first sentence stands for it."), field,
      element("div", { className: "choice" },
        button("Cancel", () => close()), element("button", { type: "submit", className: "primary" }, "Rename")));
    form.onsubmit = (event) => {
      event.preventDefault();
      close("rename");
    };
    return [form];
  });
  if (!answer) return null;
  const wanted = field.value.trim();
  await ask("PATCH", storyPath(id), { json: { title: wanted } });
  return wanted;
}

/** Makes a story of all that another one has so far. @param {{id: string}} story @returns {Promise<{id: string, title: string}>} */
export async function duplicate({ id }) {
  return (await ask("POST", storyPath(id, "duplicate"))).json();
}

/**
 * Lets a person choose what to do with a story of the list.
 * @param {{title: string, global_caption: string, other_model: boolean, shots: number}} story
 * @returns {Promise<string>} "rename", "duplicate", "exports", "remove", or "" for nothing
 */
export function chooseForStory({ title, global_caption, shots }) {
  const choices = [
    ["rename", "Rename", "another title, here and on its page"],
    shots > 0 && ["duplicate", "Duplicate", "another story with all takes, branches and the cast"],
    shots > 0 && ["exports", "Export", "as a video, a still, a script or a zip"],
    ["remove", "Remove", "with all its takes, for good"],
  ].filter(Array.isArray);
  return openDialog(title || global_caption, (close) => [
    element("div", { className: "kinds" }, ...choices.map(([name, what, why]) => {
      const made = button("", () => close(name), { className: "kind wide" });
      fill(made, element("span", {}, what), " ", element("small", {}, why));
      return made;
    })),
  ]);
}
