/** The prompt line: what happens next, how long, and the four keys. */

import { makeCastChoice } from "./castchoice.js";
import { checkCaption, makeCheck, withWord } from "./check.js";
import { button, element } from "./dom.js";
import { framesOf, lengths, seconds, secondsOfPart } from "./lengths.js";
import { busy } from "./watching.js";

/** A pause in writing after which the server is told of the text. */
const DRAFT_MS = 150;

/**
 * Makes the prompt line.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {ReturnType<import("./directing.js").makeDirecting>} directing
 * @param {(text: string) => void} say
 * @returns {{root: HTMLElement, focus: () => void, write: (text: string) => void, insert: (words: string) => void}}
 *   `write` puts a text in place of the line's, `insert` words where the caret is
 */
export function makePrompt(store, directing, say) {
  const field = element("textarea", {
    id: "prompt", rows: 1, maxLength: 2000, autocomplete: "off", spellcheck: false,
    placeholder: "What happens next?", "aria-label": "What happens next?", "aria-describedby": "keys",
  });
  const length = makeLength(store);
  const seed = element("input", {
    id: "seed", inputMode: "numeric", autocomplete: "off", placeholder: "story’s own", maxLength: 16,
  });
  const cast = makeCastChoice(() => store.get().story);
  store.watch(["state"], ({ state }) => cast.show(state?.cast ?? []));
  store.watch(["story"], () => cast.show([], null));
  const checkNext = (text) => {
    const { hello, state } = store.get();
    const shot = (state?.branch.length ?? 0) + (state?.work ? 1 : 0);
    return checkCaption({ global_caption: hello?.global_caption ?? "", text, shot });
  };
  const check = makeCheck(checkNext, (word, known) => write(withWord(field.value, word, known)));
  const draft = makeDraft(directing.draft);
  const changed = () => {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
    check.check(field.value);
    draft(field.value.trim());
  };
  const write = (text) => {
    field.value = text;
    changed();
    field.focus();
  };
  const insert = (words) => {
    const { value, selectionStart, selectionEnd } = field;
    const before = /\S$/.test(value.slice(0, selectionStart)) ? " " : "";
    const after = /^[\p{L}\p{N}]/u.test(value.slice(selectionEnd)) ? " " : "";
    field.setRangeText(before + words + after, selectionStart, selectionEnd, "end");
    changed();
    field.focus();
  };

  /** Hands the text to an action that may need it again where it is refused. */
  const give = async (action) => {
    const text = field.value.trim();
    const how = { chunks: length.chunks(), seed: seedOf(seed.value), cast: cast.chosen() };
    if (!text) say("Write what happens, then press the key.");
    if (how.seed === undefined) say("A seed is a whole number from 0 on; empty, it is the story’s own.");
    if (how.chunks === null) {
      const part = secondsOfPart(store.get().hello.fps);
      say(`A shot has 1 to ${lengths().longest_chunks} parts of about ${part}.`);
    }
    if (!text || how.seed === undefined || how.chunks === null) return;
    const seen = check.shows(text);
    write("");
    const notes = await action(text, how);
    if (!notes && !field.value) write(text);
    const news = (notes ?? []).filter(({ code }) => !seen || code === "next_shot");
    if (news.length) say(news.map(({ message }) => message).join(" "));
  };
  const acts = {
    next: () => give(directing.next),
    steer: () => give(directing.steer),
    queue: () => give(directing.queue),
    cut: () => directing.cut(),
  };

  field.oninput = changed;
  field.onkeydown = (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) acts.steer();
    else if (event.shiftKey) acts.queue();
    else acts.next();
  };
  const keys = makeKeys(acts);
  store.watch(["state"], ({ state }) => keys.enable(Boolean(state && busy(state))));
  const settings = element(
    "div",
    { className: "settings" },
    cast.root,
    length.root,
    element("label", { className: "setting" }, element("span", {}, "Seed"), seed),
  );
  const root = element(
    "section",
    { className: "prompt", "aria-label": "Direct" },
    element("div", { className: "line" }, field, check.root),
    element("div", { className: "under" }, keys.root, settings),
  );
  return { root, focus: () => field.focus(), write, insert };
}

/** The hints for the keys, which are buttons, too. */
function makeKeys(acts) {
  const key = (name, keys, action, title) => {
    const made = button(name, action, { className: "key", title });
    made.prepend(...keys.map((one) => element("kbd", { "aria-hidden": "true" }, one)));
    made.setAttribute("aria-keyshortcuts", keys.join("+").replace("Ctrl", "Control").replace("Esc", "Escape"));
    return made;
  };
  const next = key("Next shot", ["Enter"], acts.next, "Make this shot now");
  const steer = key("Steer", ["Ctrl", "Enter"], acts.steer, "Turn the shot in the making to this");
  const queue = key("Queue", ["Shift", "Enter"], acts.queue, "Make this shot after the others");
  const cut = key("Cut", ["Esc"], acts.cut, "End the shot in the making here");
  next.classList.add("first");
  const root = element("div", { className: "keys", id: "keys", role: "group", "aria-label": "Keys" }, next, steer, queue, cut);
  return {
    root,
    enable(busy) {
      cut.disabled = !busy;
    },
  };
}

/** The length of the next shot, in chunks and in seconds. */
function makeLength(store) {
  const field = element("input", {
    id: "chunks", type: "number", min: 1, step: 1, required: true,
  });
  const inSeconds = element("output", { for: "chunks" });
  const show = () => {
    const fps = store.get().hello?.fps ?? 16;
    inSeconds.textContent = field.checkValidity() ? seconds(framesOf(field.valueAsNumber), fps) : "–";
  };
  store.watch(["lengths"], ({ lengths: model }) => {
    if (!model) return;
    field.max = model.longest_chunks;
    field.value = model.default_chunks;
    show();
  });
  const step = (by) => () => {
    if (by > 0) field.stepUp();
    else field.stepDown();
    show();
  };
  field.oninput = show;
  store.watch(["hello"], show);
  const root = element(
    "div",
    { className: "setting" },
    element("label", { for: "chunks" }, "Length"),
    element("span", { className: "stepper" },
      button("−", step(-1), { "aria-label": "Shorter" }), field, button("+", step(1), { "aria-label": "Longer" })),
    inSeconds,
  );
  return { root, chunks: () => (field.checkValidity() ? field.valueAsNumber : null) };
}

/** Tells of a text once it has stood still for a moment, unless it is empty. @param {(text: string) => void} tell */
function makeDraft(tell) {
  let timer;
  return (text) => {
    clearTimeout(timer);
    if (text) timer = setTimeout(tell, DRAFT_MS, text);
  };
}

/** A seed; null where there is none, undefined where it is no seed. @param {string} text */
function seedOf(text) {
  const plain = text.trim();
  if (!plain) return null;
  return /^\d+$/.test(plain) && Number.isSafeInteger(Number(plain)) ? Number(plain) : undefined;
}
