/** The empty state: a story of one's own, an idea, three examples, and the stories that are there. */

import { post } from "./api.js";
import { checkCaption, makeCheck, withWord } from "./check.js";
import { openDialog } from "./dialog.js";
import { button, element, fill } from "./dom.js";
import { loadExamples } from "./examples.js";
import { makeGuidance } from "./guidance.js";
import { lengths } from "./lengths.js";
import { sentence } from "./says.js";
import { notUsed, readScript } from "./script.js";
import { makeScriptCheck } from "./scriptcheck.js";
import { makeStories } from "./stories.js";

/**
 * Makes the start page.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {(story: string) => void} open opens a story
 * @param {Promise<void>} ready the server takes stories
 * @param {{say: (text: string) => void, fail: (error: Error) => void}} told
 * @returns {{root: HTMLElement, refresh: () => Promise<void>, focus: () => void}}
 */
export function makeStart(store, open, ready, told) {
  const guidance = makeGuidance(store, "own-form");
  /** Begins one story at a time, with its first shots; those that are only planned wait. Returns the server's notes. */
  const begin = async (caption, seed, shots = [], paused = false, script = {}) => {
    const guided = guidance.read(script);
    const controls = [...root.querySelectorAll(".example, .begin button")];
    for (const one of controls) one.disabled = true;
    try {
      await ready;
      const { id, notes } = await post("api/stories", { global_caption: caption, title: script.title ?? "", seed, shots, paused, ...guided });
      open(id);
      if (notUsed(script)) told.say(notUsed(script));
      return notes;
    } finally {
      for (const one of controls) one.disabled = false;
    }
  };
  const sayAll = (notes) => notes.length && told.say(notes.map(({ message }) => message).join(" "));
  /** Begins with a caption; what the model will not follow of it is said, unless it is shown already. */
  const beginOwn = async (text, seen) => {
    const notes = await begin(text, anySeed());
    if (!seen) sayAll(notes);
  };
  const own = lineForm({
    label: "Who is it about, and where?", hint: "A red fox and a blue owl in a forest by day.", action: "Begin", id: "own", checked: true,
    give: beginOwn, fail: told.fail,
  });
  const idea = lineForm({
    label: "Or give only an idea", hint: "Two friends look for the sea.", action: "Write it", id: "idea",
    give: async (text) => {
      guidance.read(); // a wrong number is said before the director writes
      told.say("The director is writing.");
      const outline = await post("api/outline", { idea: text });
      const { notes } = await checkCaption({ global_caption: outline.global_caption });
      const shots = outline.shots.map((text) => ({ text, chunks: lengths().default_chunks }));
      await begin(outline.global_caption, anySeed(), shots, true);
      sayAll(notes); // those of its shots stand on their cards
    },
    fail: told.fail,
  });
  const paste = button("Or write or paste a whole script", () => askScript((script) =>
    begin(script.global_caption, script.seed ?? anySeed(), script.shots, true, script)), { className: "quiet", "aria-haspopup": "dialog" });
  const stories = makeStories(open, told);
  store.watch(["director"], ({ director }) => (idea.hidden = !director));
  const examples = element("ul", { className: "examples" });
  loadExamples().then((all) => fill(examples, ...all.map((example) => exampleCard(example, () =>
    begin(example.caption, example.seed, example.shots).catch(told.fail))))).catch(told.fail);
  const root = element("main", { className: "start" },
    element("section", { className: "hero" },
      element("p", { className: "wordmark" }, "ShotStream"),
      element("h1", {}, "What story shall we tell?"),
      element("p", { className: "lead" }, "Say who it is about and where. Then direct it, shot by shot, while it plays."),
      own, idea, guidance.root, paste),
    element("section", { "aria-labelledby": "examples-title" },
      element("h2", { id: "examples-title" }, "Or watch one begin"),
      examples),
    stories.root);
  return { root, refresh: stories.refresh, focus: () => own.querySelector("input").focus() };
}

function lineForm({ label, hint, action, id, give, fail, checked = false }) {
  const field = element("input", { id, required: true, maxLength: 2000, autocomplete: "off", placeholder: hint });
  const submit = element("button", { type: "submit", className: "primary" }, action);
  const check = makeCheck((text) => checkCaption({ global_caption: text }), (word, known) => {
    field.value = withWord(field.value, word, known);
    check.check(field.value);
    field.focus();
  });
  if (checked) field.oninput = () => check.check(field.value);
  const form = element("form", { id: `${id}-form`, className: "begin" },
    element("label", { for: id }, label), element("div", { className: "line" }, field, submit), checked && check.root);
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!field.value.trim()) return;
    submit.disabled = true;
    const text = field.value.trim();
    await give(text, check.shows(text)).catch(fail);
    submit.disabled = false;
  };
  return form;
}

/** A card whose picture is the example's first shot, which plays while it is pointed at. */
function exampleCard(example, begin) {
  const card = button("", begin, { className: "example" });
  const [poster, src] = ["png", "mp4"].map((kind) => `web/pictures/${example.name}.${kind}`);
  const video = element("video", { poster, src, muted: true, loop: true, playsInline: true, preload: "none", "aria-hidden": "true" });
  const play = () => matchMedia("(prefers-reduced-motion: reduce)").matches || video.play().catch(() => {});
  const stop = () => video.load(); // shows the poster again
  Object.assign(card, { onpointerenter: play, onfocus: play, onpointerleave: stop, onblur: stop });
  fill(card,
    video,
    element("strong", {}, example.title),
    element("span", {}, example.caption),
    element("small", {}, `${example.shots.length} shots`));
  return element("li", {}, card);
}

/** Asks for a script until a story could be begun with it. @param {(script: object) => Promise<void>} begin */
function askScript(begin) {
  return openDialog("A whole script", (close) => {
    const field = element("textarea", {
      rows: 8, required: true, maxLength: 100_000, spellcheck: false, autofocus: true, "aria-labelledby": "script-how",
      placeholder: "A red fox and a blue owl in a forest by day.\nWide shot of the fox: it waves.\nClose-up: the owl sleeps.",
    });
    const problem = element("p", { className: "problem", role: "alert" });
    const check = makeScriptCheck(field, () => null);
    const form = element("form", {},
      element("p", { id: "script-how" }, "First a line that says who it is about and where, then a line a shot; or a script in YAML or JSON."),
      element("div", {}, field, check.root), problem,
      element("div", { className: "choice" },
        button("Cancel", () => close()), element("button", { type: "submit", className: "primary" }, "Lay it out")));
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        await begin(await readScript(field.value, null));
        close();
      } catch (error) {
        problem.textContent = sentence(error.message);
      }
    };
    return [form];
  });
}

function anySeed() {
  return Math.floor(Math.random() * 2 ** 31);
}
