/** Three stories to begin with, in words that the embedded model knows; their pictures are its own first shots. */

/**
 * @typedef {object} Example
 * @property {string} name its first shot lies in `pictures`, as a still (.png) and as a video (.mp4)
 * @property {string} title
 * @property {string} caption what holds throughout
 * @property {number} seed
 * @property {{text: string, chunks: number}[]} shots
 */

/** Fetches the examples. @returns {Promise<Example[]>} */
export async function loadExamples() {
  return (await fetch(new URL("examples.json", import.meta.url))).json();
}
