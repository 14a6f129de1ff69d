/** Chunks, frames and seconds (`shotstream.core.spec`). */

/** The longest shot without `extend`. */
export const MAX_CHUNKS = 7;

/** Frames of a shot of that many chunks. @param {number} chunks @returns {number} */
export function framesOf(chunks) {
  return 12 * chunks - 3;
}

/** A length of video in words. @param {number} frames @param {number} fps @returns {string} */
export function seconds(frames, fps) {
  return `${(frames / fps).toFixed(1)} s`;
}
