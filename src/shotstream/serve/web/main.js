/** Entry point of the studio: shows the start page or the desk, for the story named in the address's hash. */

import { get, takeToken } from "./api.js";
import { makeDesk } from "./desk.js";
import { comeIn } from "./entry.js";
import { makeSays } from "./says.js";
import { makeStart } from "./start.js";
import { makeStore, NOTHING_KNOWN } from "./store.js";

const POLL_MS = 700;
const STORY = /^[0-9a-f]{16}$/;

takeToken();
const store = makeStore(NOTHING_KNOWN);
const says = makeSays();

const open = (story) => {
  location.hash = story;
};
const leave = () => {
  location.hash = "";
};
const ready = opened();
const start = makeStart(store, open, ready, says);
const desk = makeDesk(store, says, leave);
document.querySelector("#app").append(says.bar, start.root, desk.root, says.foot);

/** Shows what the address says. */
function route() {
  const story = location.hash.slice(1);
  const watched = STORY.test(story);
  if (story && !watched) says.fail(new Error("This address names no story. Choose one from the list."));
  desk.close();
  start.root.hidden = watched;
  desk.root.hidden = !watched;
  store.set({ view: watched ? "desk" : "start" });
  if (watched) {
    desk.open(story);
  } else {
    start.refresh();
    start.focus();
  }
}

/** Waits while the server opens its model. */
async function opened() {
  for (;;) {
    const health = await get("api/health").catch(() => null);
    if (health && health.status !== "opening") return says.wait(null);
    says.wait(health ? "The model is being opened; a moment." : "The server does not answer; trying again.");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Loads the model's facts and words into the store; returns whether the server lets this page in. */
async function entered() {
  try {
    const { model, words } = await comeIn();
    store.set({ guidance: model.guidance ?? null, director: model.director ?? false, words, lengths: model });
    return true;
  } catch (error) {
    const locked = error.code === "unauthorized";
    says.fail(locked ? new Error("This server needs its token. Reload the page to enter it.") : error);
    return !locked;
  }
}

await ready;
if (await entered()) {
  addEventListener("hashchange", route);
  route();
}
