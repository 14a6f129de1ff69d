/** The cast: pictures that the shots to come remember. Each is named, renamed and removed. */

import { address, ask, storyPath } from "./api.js";
import { checkWords, makeCheck, withWord } from "./check.js";
import { openDialog } from "./dialog.js";
import { button, element, fill, picture } from "./dom.js";

const REMOVE = "remove";

/**
 * Makes the row of the cast, which takes images by its button and wherever they are dropped on the page.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {ReturnType<import("./directing.js").makeDirecting>} directing
 * @param {{say: (text: string) => void, fail: (error: Error) => void}} told
 * @returns {HTMLElement}
 */
export function makeCast(store, directing, told) {
  const members = element("ul", { className: "members", "aria-label": "Cast" });
  const input = element("input", {
    type: "file", accept: "image/*", multiple: true, hidden: true, className: "cast-file", "aria-label": "Image of a cast member",
  });
  const add = button("Add to the cast", () => input.click(), {
    className: "quiet add", title: "A picture that the shots to come remember; or drop one on the page",
  });
  const take = async (files) => {
    for (const file of files) await addMember(store.get(), file, told).catch(told.fail);
  };
  input.onchange = async () => {
    await take([...input.files]);
    input.value = "";
  };
  listenForDrops((files) => (store.get().hello ? take(files) : told.say("Open a story first, then drop its cast.")));
  let shown = "";
  store.watch(["story", "state"], ({ story, state }) => {
    const cast = state?.cast ?? [];
    const now = JSON.stringify([story, cast]);
    if (now === shown) return;
    shown = now;
    const focused = members.contains(document.activeElement);
    fill(members, ...cast.map((member) => memberOf(story, member, directing, told)));
    if (focused) (members.querySelector("button") ?? add).focus();
  });
  return element("div", { className: "cast" }, members, add, input);
}

/** A member, which opens what can be done with it. */
function memberOf(story, member, directing, told) {
  const { number, caption } = member;
  const src = address(storyPath(story, "cast", number, "picture"));
  const open = async () => {
    const answer = await askMember(src, caption);
    if (answer === REMOVE && (await directing.removeCast(number))) told.say(`${caption} has left the cast. Undo brings it back.`);
    if (answer?.name && answer.name !== caption) await directing.renameCast(number, answer.name);
  };
  const made = button("", open, {
    className: "member", title: `${caption}: rename or remove`, "aria-haspopup": "dialog",
  });
  fill(made, picture(src, ""), element("span", {}, caption));
  return element("li", {}, made);
}

/** Shows a member; REMOVE, or the name that was given; null where it was left as it is. */
async function askMember(src, caption) {
  const { root, field } = nameField(caption);
  const answer = await openDialog(caption, (close) => {
    const form = element("form", {},
      picture(src, caption), root,
      element("p", { className: "hint" }, "Shots to come remember the picture under this name. Shots that are made stay as they are."),
      element("div", { className: "choice" },
        button("Remove from the cast", () => close(REMOVE), { className: "danger first" }),
        button("Cancel", () => close()), element("button", { type: "submit", className: "primary" }, "Rename")));
    form.onsubmit = (event) => {
      event.preventDefault();
      if (field.value.trim()) close("rename");
    };
    return [form];
  }, { className: "of-member" });
  return answer === "rename" ? { name: field.value.trim() } : answer || null;
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

async function addMember({ story, hello }, file, { say }) {
  const canvas = await cropped(file, hello);
  const caption = await askCaption(canvas);
  if (!caption) return;
  const body = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  await ask("POST", `${storyPath(story, "cast")}?${new URLSearchParams({ caption })}`, { body });
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

/** The field of a member's name, with the words of it that the model does not know. */
function nameField(value) {
  const field = element("input", {
    value, required: true, maxLength: 2000, autofocus: true, autocomplete: "off", placeholder: "A red fox", "aria-label": "Name",
  });
  const { root, check } = makeCheck(checkWords, (word, known) => {
    field.value = withWord(field.value, word, known);
    check(field.value);
    field.focus();
  });
  field.oninput = () => check(field.value);
  return { root: element("div", {}, field, root), field };
}

function askCaption(canvas) {
  return openDialog("Who or what is this?", (close) => {
    const { root, field } = nameField("");
    const form = element("form", {}, canvas, root,
      element("div", { className: "choice" },
        button("Cancel", () => close()), element("button", { type: "submit", className: "primary" }, "Add to the cast")));
    form.onsubmit = (event) => {
      event.preventDefault();
      close(field.value.trim());
    };
    return [form];
  });
}
