/** Chunks, frames and seconds (`shotstream.core.spec`). */

/** The length of a shot that says none. */
export const DEFAULT_CHUNKS = 3;
/** The longest shot of all. */
export const MOST_CHUNKS = 70;
/** The longest shot without `extend`. */
export const MAX_CHUNKS = 7;

/** Frames of that many chunks from the start of a shot. @param {number} chunks @returns {number} */
export function framesOf(chunks) {
  return chunks ? 12 * chunks - 3 : 0;
}

/** A length of video in words. @param {number} frames @param {number} fps @returns {string} */
export function seconds(frames, fps) {
  return `${(frames / fps).toFixed(1)} s`;
}
