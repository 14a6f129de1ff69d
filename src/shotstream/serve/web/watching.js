/** An open story: its connection, its playback, and what is known of it. */

import { ServerError, address, get, storyPath } from "./api.js";
import { placeOf } from "./packet.js";
import { Player } from "./player.js";
import { Connection } from "./socket.js";

const GONE = "This story is not on the server: it was removed, or its address is mistyped. Choose another one.";

/**
 * Watches a story until it is left.
 * @param {string} story
 * @param {object} page
 * @param {ReturnType<import("./store.js").makeStore>} page.store
 * @param {(picture: ImageBitmap) => void} page.draw
 * @param {(src: string, wanted: (blank: boolean) => boolean, drawn: () => void) => void} page.poster draws a still,
 *   if it is still wanted once it has come, and then calls `drawn`
 * @param {import("./meter.js").Meter} page.meter
 * @param {ReturnType<import("./says.js").makeSays>} page.says
 * @param {() => void} page.leave the story cannot be watched
 */
export function watchStory(story, { store, draw, poster, meter, says, leave }) {
  let player = null;
  store.set({ story, title: "", seed: null, hello: null, state: null, tree: null, replay: null, shown: recall(story) });

  const learn = ({ title, seed }) => store.get().story === story && store.set({ title, seed });
  const note = (shown) => {
    remember(story, shown);
    store.set({ shown });
  };
  const show = (picture, { shot, take, frame }) => {
    draw(picture);
    meter.shown(performance.now());
    note({ shot, take, frame });
  };
  const refresh = async () => {
    const tree = await get(storyPath(story, "tree")).catch(says.fail);
    if (tree && store.get().story === story) store.set({ tree });
  };
  /** Draws the last frame of the branch where nothing is being made and the picture shows something else. */
  const showEnd = () => {
    const { tree, state: { branch } } = store.get();
    const [shot, take] = [branch.length - 1, branch.at(-1)];
    const end = tree?.takes.find((one) => one.shot === shot && one.take === take);
    const wanted = (blank) => {
      const { story: now, state, shown } = store.get();
      const idle = now === story && state.branch === branch && !busy(state);
      return idle && !player.playout.length && (blank || shown?.shot !== shot || shown.take !== take);
    };
    if (!end || !wanted(true)) return;
    const frame = end.frames - 1;
    poster(address(storyPath(story, "takes", shot, take, "picture"), { frame }), wanted, () => note({ shot, take, frame }));
  };
  const hear = {
    waiting: ({ position }) => says.wait(`Every seat is taken. You are number ${position} in line; the story opens by itself.`),
    hello(hello) {
      says.wait(null);
      if (!player) {
        player = new Player(hello.fps, show, says.fail);
        player.playout.flush(); // the first frame shows as soon as it comes
      }
      store.set({ hello });
      get(storyPath(story)).then(learn).catch(says.fail);
    },
    async state(state) {
      const before = store.get().state;
      store.set({ state });
      player.playout.expect(busy(state));
      if (standsElsewhere(before, state)) await refresh();
      if (store.get().story === story && store.get().state === state) showEnd();
    },
    flush({ after }) {
      player?.playout.flush(after);
      meter.flushed();
    },
    error: (problem) => says.fail(problem),
  };
  const connection = new Connection(story, {
    resume() {
      const { shown } = store.get();
      if (!player) return shown && frameBefore(shown);
      player.playout.flush();
      return shown;
    },
    frame: (frame) => player?.push(frame),
    message: (message) => hear[message.type]?.(message),
    broken: (again) => says.wait(again > 1 ? "Still no connection; trying again." : "The connection broke; trying again."),
    refused(error) {
      if (error.code === "unauthorized") return location.reload(); // asks for the token, and comes back here
      says.fail(error.code === "not_found" ? new ServerError(error.code, GONE) : error);
      return leave();
    },
  });
  return {
    send: (command) => connection.send(command),
    seconds: () => player?.playout.seconds ?? 0,
    close() {
      connection.close();
      player?.close();
      says.wait(null);
      store.set({ story: null, hello: null, state: null, tree: null, replay: null, shown: null });
    },
  };
}

/** The frame before the one that a reloaded page showed, so that the server sends that one again; null for the first. */
function frameBefore({ shot, take, frame }) {
  return frame > 0 ? { shot, take, frame: frame - 1 } : null;
}

/** Whether there is something to make now. @param {NonNullable<import("./store.js").Known["state"]>} state */
export function busy({ work, queue, paused }) {
  return Boolean(work || (queue.length && !paused));
}

/** Whether two states have different finished shots, or the same made anew. */
function standsElsewhere(before, now) {
  return !before || before.frames !== now.frames || String(before.branch) !== String(now.branch);
}

function keyOf(story) {
  return `shotstream-seen-${story}`;
}

function remember(story, shown) {
  sessionStorage.setItem(keyOf(story), placeOf(shown));
}

/** The frame that this tab showed last of a story. */
function recall(story) {
  const place = sessionStorage.getItem(keyOf(story));
  if (!place) return null;
  const [shot, take, frame] = place.split(".").map(Number);
  return { shot, take, frame };
}
