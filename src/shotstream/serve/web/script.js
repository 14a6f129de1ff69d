/** Scripts that a person writes or pastes: a shot a line, or a whole script as `docs/script.md` has it. */

import { post } from "./api.js";
import { lengths } from "./lengths.js";

/** What stands before the text of a line: a dash, a number, "Shot 3:". */
const MARK = /^(?:[-*•](?:\s+|$)|(?:shot\s*)?\d+\s*[.:)]\s*)/i;
/** What only a whole script has: YAML's list of shots, JSON, or one line with bars. */
const WHOLE = /^\s*shots\s*:|^\s*\{|^[^\n]+\|[^\n]+$/m;

/**
 * Reads a text that has one shot a line.
 * @param {string} text
 * @returns {string[]} what each line says; empty lines, and marks such as "-" and "Shot 3:", are left out
 */
export function linesOf(text) {
  return text.split("\n").map((line) => line.trim().replace(MARK, "")).filter(Boolean);
}

/**
 * Reads a script.
 * @param {string} text
 * @param {string|null} story the story that its shots are added to; null: they begin one, and the first of plain lines
 *   says who it is about and where
 * @returns {Promise<{global_caption: string|null, seed: number|null, guidance?: number|null, negative_prompt?: string,
 *   notes?: {code: string, message: string}[], shots: object[]}>} shots as the protocol has them; plain lines say nothing
 *   of the optional ones
 * @throws {Error} something in it is wrong
 */
export async function readScript(text, story) {
  if (WHOLE.test(text)) return post("api/script", { text, story });
  const lines = linesOf(text);
  const captioned = story === null;
  if (captioned && lines.length < 2) throw new Error("Write one line that says who and where, then at least one line for a shot.");
  if (!lines.length) throw new Error("Write at least one line for a shot.");
  const global_caption = captioned ? lines.shift() : null;
  return { global_caption, seed: null, shots: lines.map((line) => ({ text: line, chunks: lengths().default_chunks })) };
}

/** Everything in a script that the model reads. @param {{global_caption: string|null, shots: {text: string, steers?: {text: string}[]}[]}} script */
export function captionsOf({ global_caption, shots }) {
  return [global_caption ?? "", ...shots.flatMap(({ text, steers = [] }) => [text, ...steers.map((steer) => steer.text)])];
}

/** What of a script is not used, a line each. @param {{notes?: {code: string, message: string}[]}} script @returns {string} */
export function notUsed({ notes = [] }) {
  return notes.filter(({ code }) => code === "not_used").map(({ message }) => message).join("\n");
}
