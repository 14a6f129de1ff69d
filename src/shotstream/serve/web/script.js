/** Scripts that a person writes or pastes: a shot a line, or a whole script as `docs/script.md` has it. */

import { post } from "./api.js";
import { DEFAULT_CHUNKS } from "./lengths.js";

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
 * @param {boolean} captioned whether the first line of plain lines says who it is about and where
 * @returns {Promise<{global_caption: string|null, seed: number|null, guidance?: number|null, negative_prompt?: string,
 *   cast?: string[], shots: object[]}>} shots as the protocol has them; plain lines say nothing of the optional ones
 * @throws {Error} something in it is wrong
 */
export async function readScript(text, captioned) {
  if (WHOLE.test(text)) return post("api/script", { text });
  const lines = linesOf(text);
  if (captioned && lines.length < 2) throw new Error("Write one line that says who and where, then at least one line for a shot.");
  if (!lines.length) throw new Error("Write at least one line for a shot.");
  const global_caption = captioned ? lines.shift() : null;
  return { global_caption, seed: null, shots: lines.map((line) => ({ text: line, chunks: DEFAULT_CHUNKS })) };
}

/** Everything in a script that the model reads. @param {{global_caption: string|null, shots: {text: string, steers?: {text: string}[]}[]}} script */
export function captionsOf({ global_caption, shots }) {
  return [global_caption ?? "", ...shots.flatMap(({ text, steers = [] }) => [text, ...steers.map((steer) => steer.text)])];
}

/** Says what is to be done about a cast whose pictures lie with the person. @param {string[]} cast at least one caption */
export function castNotRead(cast) {
  return `The pictures of its cast are not in the text (${cast.join(", ")}): choose them with “Add to the cast”.`;
}
