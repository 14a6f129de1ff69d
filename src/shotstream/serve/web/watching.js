/** An open story: its connection, its playback, and what is known of it. */

import { address, get, storyPath } from "./api.js";
import { placeOf } from "./packet.js";
import { Player } from "./player.js";
import { Connection } from "./socket.js";

/**
 * Watches a story until it is left.
 * @param {string} story
 * @param {object} page
 * @param {ReturnType<import("./store.js").makeStore>} page.store
 * @param {(picture: ImageBitmap) => void} page.draw
 * @param {(src: string, wanted: (blank: boolean) => boolean) => void} page.poster shows a still, if it is still wanted
 *   once it is there
 * @param {import("./figures.js").Meter} page.meter
 * @param {ReturnType<import("./says.js").makeSays>} page.says
 * @param {() => void} page.leave the story cannot be watched
 */
export function watchStory(story, { store, draw, poster, meter, says, leave }) {
  let player = null;
  store.set({ story, hello: null, state: null, tree: null, replay: null, shown: recall(story) });

  const show = (picture, frame) => {
    draw(picture);
    meter.shown(performance.now());
    const shown = { shot: frame.shot, take: frame.take, frame: frame.frame };
    remember(story, shown);
    store.set({ shown });
  };
  const refresh = async () => {
    const tree = await get(storyPath(story, "tree")).catch(says.fail);
    if (tree && store.get().story === story) store.set({ tree });
  };
  const showEnd = () => {
    const { branch } = store.get().state;
    const [shot, take] = [branch.length - 1, branch.at(-1)];
    const wanted = (blank) => {
      const { story: now, state, shown } = store.get();
      const idle = now === story && state.branch === branch && !state.work && !state.queue.length;
      return idle && !player.playout.length && (blank || shown?.shot !== shot || shown.take !== take);
    };
    if (branch.length && wanted(true)) poster(address(storyPath(story, "takes", shot, take, "picture")), wanted);
  };
  const hear = {
    queued: ({ position }) => says.wait(`Every seat is taken. You are number ${position} in line; the story opens by itself.`),
    hello(hello) {
      says.wait(null);
      player ??= new Player(hello.fps, show, says.fail);
      store.set({ hello });
    },
    async state(state) {
      const before = store.get().state;
      store.set({ state });
      player.playout.expect(Boolean(state.work || state.queue.length));
      if (standsElsewhere(before, state)) await refresh();
      if (store.get().story === story && store.get().state === state) showEnd();
    },
    flush() {
      player?.playout.flush();
      meter.flushed();
    },
    error: (problem) => says.fail(problem),
  };
  const connection = new Connection(story, {
    resume() {
      player?.playout.flush();
      return store.get().shown;
    },
    frame: (frame) => player?.push(frame),
    message: (message) => hear[message.type]?.(message),
    broken: (again) => says.wait(again > 1 ? "Still no connection; trying again." : "The connection broke; trying again."),
    refused(error) {
      if (error.code === "unauthorized") return location.reload(); // asks for the token, and comes back here
      says.fail(error);
      return leave();
    },
  });
  return {
    send: (command) => connection.send(command),
    seconds: () => player?.playout.seconds ?? 0,
    refresh,
    close() {
      connection.close();
      player?.close();
      says.wait(null);
      store.set({ story: null, hello: null, state: null, tree: null, replay: null, shown: null });
    },
  };
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
