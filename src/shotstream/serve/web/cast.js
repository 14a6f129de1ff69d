/** The cast: pictures that the story remembers from its start. */

import { address, ask, storyPath } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element, fill, picture } from "./dom.js";

/**
 * Makes the row of the cast, which takes images by its button and wherever they are dropped on the page.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {{changed: () => Promise<void>, say: (text: string) => void, fail: (error: Error) => void}} told
 * @returns {HTMLElement}
 */
export function makeCast(store, told) {
  const members = element("ul", { className: "members", "aria-label": "Cast" });
  const input = element("input", {
    type: "file", accept: "image/*", multiple: true, hidden: true, className: "cast-file", "aria-label": "Image of a cast member",
  });
  const add = button("Add to the cast", () => input.click(), {
    className: "quiet add", title: "An image that the story remembers; or drop one on the page",
  });
  const take = async (files) => {
    for (const file of files) await addMember(store.get(), file, told).catch(told.fail);
  };
  input.onchange = async () => {
    await take([...input.files]);
    input.value = "";
  };
  listenForDrops((files) => (store.get().hello ? take(files) : told.say("Open a story first, then drop its cast.")));
  store.watch(["story", "tree"], ({ story, tree }) => {
    fill(members, ...(tree?.cast ?? []).map((caption, number) => {
      const src = address(storyPath(story, "cast", number, "picture"));
      return element("li", { title: caption }, picture(src, ""), element("span", {}, caption));
    }));
  });
  return element("div", { className: "cast" }, members, add, input);
}

function listenForDrops(drop) {
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(false);
    drop([...event.dataTransfer.files].filter((file) => file.type.startsWith("image/")));
  });
}

async function addMember({ story, hello }, file, { changed, say }) {
  const canvas = await cropped(file, hello);
  const caption = await askCaption(canvas);
  if (!caption) return;
  const body = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  await ask("POST", `${storyPath(story, "cast")}?${new URLSearchParams({ caption })}`, { body });
  await changed();
  say(`${caption} is in the cast.`);
}

/** An image on a canvas of the story's size: its middle, as large as it can be. */
async function cropped(file, { width, height }) {
  const image = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no image that this browser can read.`);
  });
  const scale = Math.max(width / image.width, height / image.height);
  const [w, h] = [image.width * scale, image.height * scale];
  const canvas = element("canvas", { width, height, className: "preview", "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
  return canvas;
}

function askCaption(canvas) {
  return openDialog("Who or what is this?", (close) => {
    const field = element("input", {
      required: true, maxLength: 2000, autofocus: true, autocomplete: "off", placeholder: "A red fox", "aria-label": "Caption",
    });
    const form = element("form", {}, canvas, field,
      element("div", { className: "choice" },
        button("Cancel", () => close()), element("button", { type: "submit", className: "primary" }, "Add to the cast")));
    form.onsubmit = (event) => {
      event.preventDefault();
      close(field.value.trim());
    };
    return [form];
  });
}
