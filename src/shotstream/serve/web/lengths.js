/** Chunks, frames and seconds, by the numbers of the server's model. */

/** Frames that a latent decodes to; the first of a shot is one (`shotstream.core.spec`). */
const FRAMES_A_LATENT = 4;

/**
 * Lengths of the model's shots in chunks, and of a chunk in latents (`ModelView` of the server).
 * @typedef {object} Lengths
 * @property {number} chunk_latents
 * @property {number} default_chunks of a shot that says none
 * @property {number} max_chunks without `extend`
 * @property {number} longest_chunks of all
 */

/** @type {Lengths|undefined} */
let known;

/** Takes the lengths from the server's model, before anything asks for them. @param {Lengths} model */
export function useLengths(model) {
  known = model;
}

/** The lengths of the model's shots. @returns {Lengths} */
export function lengths() {
  if (!known) throw new Error("the model is not known yet");
  return known;
}

/** Frames of that many chunks from the start of a shot. @param {number} chunks @returns {number} */
export function framesOf(chunks) {
  return chunks ? 1 + FRAMES_A_LATENT * (chunks * lengths().chunk_latents - 1) : 0;
}

/** A length of video in words. @param {number} frames @param {number} fps @returns {string} */
export function seconds(frames, fps) {
  return `${(frames / fps).toFixed(1)} s`;
}

/** The seconds of a part of a shot, in words. @param {number} fps @returns {string} */
export function secondsOfPart(fps) {
  return seconds(FRAMES_A_LATENT * lengths().chunk_latents, fps);
}
