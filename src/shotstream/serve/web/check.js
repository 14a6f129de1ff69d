/** Shows, while a text is being written, what of it the model will not follow: unknown words, and what is too long. */

import { post } from "./api.js";
import { button, element, fill } from "./dom.js";

const WAIT_MS = 400;
const ALL_WELL = { lost_global: "", lost_text: "", unknown: [] };

/**
 * @typedef {object} Found what the model will not follow of a caption
 * @property {string} lost_global the end of the global caption that is not read
 * @property {string} lost_text the end of the shot's own text that is not read
 * @property {{word: string, nearest: string|null}[]} unknown
 */

/** Asks the server about a caption. @param {{global_caption: string, text?: string, shot?: number}} caption @returns {Promise<Found>} */
export function checkCaption(caption) {
  return post("api/caption/check", caption);
}

/** Asks the server about the words alone of a caption, however long it is. @param {string} text @returns {Promise<Found>} */
export async function checkWords(text) {
  return { ...ALL_WELL, unknown: (await checkCaption({ global_caption: "", text })).unknown };
}

/**
 * Makes the lines of a check.
 * @param {(text: string) => Promise<Found>} find checks a text
 * @param {(word: string, known: string) => void} replace puts a word that is known in place of one that is not
 * @returns {{root: HTMLElement, check: (text: string) => void, report: (text: string) => Promise<string>}} `check` asks
 *   once a text has stood still for a moment; `report` returns what it has not shown yet of a text, "" where nothing
 */
export function makeCheck(find, replace) {
  const line = (name) => element("p", { className: name, role: "status", "aria-live": "polite" });
  const [unread, unknown] = [line("unread"), line("unknown")];
  const nearest = element("span", { className: "nearest" });
  const root = element("div", { className: "check" }, unread, element("div", {}, unknown, nearest));
  let latest = "";
  let shown = "";
  let timer;

  const say = (place, text) => {
    if (place.textContent !== text) place.textContent = text;
  };
  /** Shows what is wrong with a text. */
  const show = (text, found) => {
    const words = wordsOf(text, found);
    say(unread, lost(found));
    say(unknown, named(words));
    fill(nearest, ...words.filter((one) => one.nearest).map(({ word, nearest: known }) =>
      button(`${word} → ${known}`, () => replace(word, known), { className: "chip", title: `Write ${known} in place of ${word}` })));
    shown = text;
  };
  const ask = async (text) => {
    const found = await find(text).catch(() => ALL_WELL);
    if (text === latest) show(text, found);
  };
  return {
    root,
    check(text) {
      latest = text.trim();
      clearTimeout(timer);
      if (latest) timer = setTimeout(ask, WAIT_MS, latest);
      else show("", ALL_WELL);
    },
    shows: (text) => text === shown,
  };
}

/** The unknown words that stand in a text itself, and not elsewhere in its caption. */
function wordsOf(text, { unknown }) {
  return unknown.filter(({ word }) => pattern(word).test(text));
}

function named(words) {
  return words.length ? `It does not know: ${words.map(({ word }) => word).join(", ")}` : "";
}

function lost({ lost_global: globalEnd, lost_text: end }) {
  const lines = [
    end && `This is too long, its end will not be read: “${end}”`,
    globalEnd && `This part of the story’s own caption will not be read, to make room: “${globalEnd}”`,
  ];
  return lines.filter(Boolean).join(" ");
}

/** A text in which a whole word stands in place of another. @param {string} text @param {string} word @param {string} known */
export function withWord(text, word, known) {
  return text.replace(pattern(word), (found) =>
    found[0] === found[0].toUpperCase() ? known[0].toUpperCase() + known.slice(1) : known);
}

/** Finds a whole word, in whatever case. @param {string} word */
function pattern(word) {
  const plain = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(?<![\\p{L}\\p{N}_])${plain}(?![\\p{L}\\p{N}_])`, "giu");
}
