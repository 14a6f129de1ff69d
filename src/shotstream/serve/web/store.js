/** What the page knows, in one place; parts of the page are told when what they show has changed. */

/**
 * @typedef {object} Member
 * @property {number} number a member's own, for good
 * @property {string} caption
 */

/**
 * @typedef {object} QueuedShot
 * @property {number} id names it in commands
 * @property {string} text
 * @property {number} chunks
 * @property {number|null} seed null: the story's own
 * @property {number[]|null} cast the members that it may remember; null: all
 * @property {{at: number, text: string}[]} steers
 */

/**
 * @typedef {object} Known
 * @property {"start"|"desk"} view which of the two the page shows
 * @property {string|null} story the id of the story at hand
 * @property {string} title the story's; "" where its global caption stands for it
 * @property {number|null} seed of the story's shots that have none of their own
 * @property {{width: number, height: number, fps: number, global_caption: string}|null} hello the open story
 * @property {{branch: number[], frames: number, work: object|null, queue: QueuedShot[], paused: boolean,
 *   cast: Member[], guidance: number|null, negative_prompt: string, undo: string|null}|null} state where it stands
 * @property {{takes: object[], current: number[], cast: Member[]}|null} tree all its takes
 * @property {{shot: number, take: number, frame: number}|null} shown the frame on the screen
 * @property {{shot: number, take: number}|null} replay the take that is replayed in place of live
 * @property {number|null} guidance scale of guidance of stories that name none; null: the model takes none
 * @property {boolean} director whether the server makes stories of ideas
 * @property {{trait: string, values: {value: string, phrases: string[]}[]}[]} words what the model knows; empty where nobody can say
 * @property {import("./lengths.js").Lengths|null} lengths of the model's shots; null: the model is not known yet
 */

/**
 * Makes a store.
 * @template {object} T
 * @param {T} initial
 */
export function makeStore(initial) {
  let known = initial;
  const listeners = new Set();
  return {
    /** What is known now; never changed in place. @returns {T} */
    get: () => known,
    /** Changes some of it. @param {Partial<T>} changes */
    set(changes) {
      const before = known;
      known = { ...known, ...changes };
      for (const listener of listeners) listener(known, before);
    },
    /**
     * Calls back when any of these values changes, and once now.
     * @param {(keyof T)[]} names
     * @param {(known: T) => void} show
     * @returns {() => void} ends that
     */
    watch(names, show) {
      const listener = (now, before) => {
        if (names.some((name) => now[name] !== before[name])) show(now);
      };
      listeners.add(listener);
      show(known);
      return () => listeners.delete(listener);
    },
  };
}

/** @type {Known} */
export const NOTHING_KNOWN = {
  view: "start",
  story: null,
  title: "",
  seed: null,
  hello: null,
  state: null,
  tree: null,
  shown: null,
  replay: null,
  guidance: null,
  director: false,
  words: [],
  lengths: null,
};
