/** A story's shots on one time axis, in seconds. Pure. */

/**
 * @typedef {object} Segment
 * @property {import("./takes.js").Take} take
 * @property {number} start second at which the shot begins
 * @property {number} end second at which the next one begins
 */

/**
 * Puts takes one after another.
 * @param {import("./takes.js").Take[]} takes
 * @param {number} fps
 * @returns {Segment[]}
 */
export function segmentsOf(takes, fps) {
  let frames = 0;
  return takes.map((take) => {
    const start = frames / fps;
    frames += take.frames;
    return { take, start, end: frames / fps };
  });
}

/** The length of a story. @param {Segment[]} segments @returns {number} seconds */
export function lengthOf(segments) {
  return segments.at(-1)?.end ?? 0;
}

/**
 * Finds the shot at a time; times outside the story belong to its first or last shot.
 * @param {Segment[]} segments at least one
 * @param {number} time seconds
 * @returns {number} the segment's index
 */
export function indexAt(segments, time) {
  const found = segments.findLastIndex(({ start }) => start <= time);
  return Math.max(0, found);
}

/** A time as minutes and seconds, "1:04.5". @param {number} time seconds @returns {string} */
export function clock(time) {
  const tenths = Math.round(10 * Math.max(0, time));
  const [minutes, rest] = [Math.floor(tenths / 600), tenths % 600];
  return `${minutes}:${(rest / 10).toFixed(1).padStart(4, "0")}`;
}
