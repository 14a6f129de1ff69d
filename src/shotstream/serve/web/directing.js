/** What a person does to the story: each one a command, and where it was refused, the reason. */

import { lengths } from "./lengths.js";
import { placeOf } from "./packet.js";
import { wayThrough } from "./takes.js";

const SEEDS = 2 ** 31;
/** What the page calls the commands that can be undone. */
export const CHANGES = {
  shot: "next shot", steer: "steer", queue: "queue", cut: "cut", retry: "try again", rewind: "back to here",
  switch: "go to another take", edit: "edit", move: "move", duplicate: "duplicate", remove: "remove", pause: "hold or tell",
  cast: "add to the cast", rename_cast: "rename in the cast", remove_cast: "remove from the cast",
};

/**
 * @typedef {object} How
 * @property {number} chunks
 * @property {number|null} seed null: the story's own
 * @property {number[]|null} cast members that the shot may remember; null: all
 */

/**
 * Makes the actions; those that send a command return the server's notes on it, or null where it was refused.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {(command: object) => Promise<{notes: {code: string, message: string}[]}>} send
 * @param {{asked: () => void, say: (text: string) => void, fail: (error: Error) => void}} told `asked` when an
 *   instruction is given
 */
export function makeDirecting(store, send, told) {
  /** Sends a command; returns the server's notes on it, or null where it was refused. */
  const command = async (what) => {
    store.set({ replay: null });
    try {
      return (await send(what)).notes;
    } catch (error) {
      told.fail(error);
      return null;
    }
  };
  const instruct = (what) => {
    told.asked();
    return command(what);
  };
  /** Steers the shot that is shown; at its end the server makes the text the next shot, and says so. */
  const steer = (text) => {
    const { shown } = store.get();
    return instruct({ type: "steer", text, ...(shown && { shown: placeOf(shown) }) });
  };

  return {
    /** Makes a shot at once. @param {string} text @param {How} how */
    next: (text, how) => instruct({ type: "shot", ...shotOf(text, how) }),
    /** Makes a shot after all others. @param {string} text @param {How} how */
    queue: (text, how) => command({ type: "queue", shots: [shotOf(text, how)] }),
    /**
     * Queues shots that are planned: where nothing waits or is made, they wait until they are told.
     * @param {object[]} shots as the protocol has them
     */
    plan(shots) {
      const { work, queue } = store.get().state;
      return command({ type: "queue", shots, ...(!work && !queue.length && { paused: true }) });
    },
    /** Lets the queue wait, or go on. @param {boolean} paused */
    pause: (paused) => command({ type: "pause", paused }),
    /** Changes what a queued shot is to be. @param {import("./store.js").QueuedShot} shot */
    edit: ({ id, text, steers, ...how }) => command({ type: "edit", queued: id, ...shotOf(text, how), steers }),
    /** Moves a queued shot to a place. @param {number} id @param {number} to */
    move: (id, to) => command({ type: "move", queued: id, to }),
    /** Queues a shot once more, behind itself. @param {number} id */
    duplicate: (id) => command({ type: "duplicate", queued: id }),
    /** Takes a shot out of the queue. @param {number} id */
    remove: (id) => command({ type: "remove", queued: id }),
    /** Gives a member of the cast another name. @param {number} member @param {string} caption */
    renameCast: (member, caption) => command({ type: "rename_cast", member, caption }),
    /** Takes a member out of the cast. @param {number} member */
    removeCast: (member) => command({ type: "remove_cast", member }),
    /** Takes back the latest change of the story or its queue. */
    async undo() {
      const { undo } = store.get().state ?? {};
      if (!undo) return told.say("There is nothing to undo.");
      if (await command({ type: "undo" })) told.say(`Undone: ${CHANGES[undo]}.`);
      return undefined;
    },
    /** Gives the shot that is shown another caption. @param {string} text */
    steer,
    /** A caption that is being written, to be read ahead; where it is not, nothing is lost. @param {string} text */
    draft: (text) => store.get().story && send({ type: "draft", text }).catch(() => {}),
    /** Ends the shot in the making. */
    cut: () => command({ type: "cut" }),
    /** Makes another take of a shot, with another seed. @param {import("./takes.js").Take} take */
    retry: ({ shot }) => instruct({ type: "retry", shot, seed: anySeed() }),
    /** Makes another take of a shot, and all that followed it again. @param {import("./takes.js").Take} take */
    retryRest: ({ shot }) => instruct({ type: "retry", shot, seed: anySeed(), rest: true }),
    /** Goes on after a shot. @param {import("./takes.js").Take} take */
    backTo: (take) => command({ type: "rewind", shot: take.shot + 1 }),
    /** Goes to the branch through a take, wherever it is in the tree. @param {import("./takes.js").Take} take */
    choose(take) {
      return command({ type: "switch", takes: wayThrough(store.get().tree.takes, take) });
    },
    /** Shows a finished take in place of live. @param {import("./takes.js").Take} take */
    replay: ({ shot, take }) => store.set({ replay: { shot, take } }),
    /** Back to live. */
    live: () => store.set({ replay: null }),
  };
}

function anySeed() {
  return Math.floor(Math.random() * SEEDS);
}

/** A shot as the protocol has it. @param {string} text @param {How} how */
function shotOf(text, { chunks, seed, cast }) {
  const extend = chunks > lengths().max_chunks;
  return { text, chunks, extend, ...(seed !== null && { seed }), ...(cast !== null && { cast }) };
}
