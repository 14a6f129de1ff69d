/** The studio: which of its two views is shown, and for which story (the address's hash). */

import { get, takeToken } from "./api.js";
import { makeDesk } from "./desk.js";
import { element } from "./dom.js";
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
document.querySelector("#app").append(says.bar, start.root, desk.root, element("footer", { className: "foot" }, says.line));

/** Shows what the address says. */
function route() {
  const story = location.hash.slice(1);
  const watched = STORY.test(story);
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
    const health = await get("/api/health").catch(() => null);
    if (health && health.status !== "opening") return says.wait(null);
    says.wait(health ? "The model is being opened; a moment." : "The server does not answer; trying again.");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Takes in what the server knows; whether it lets this page in. */
async function entered() {
  try {
    const { model, words } = await comeIn();
    store.set({ director: model.director ?? false, words });
    return true;
  } catch (error) {
    says.fail(error);
    return error.code !== "unauthorized";
  }
}

await ready;
if (await entered()) {
  addEventListener("hashchange", route);
  route();
}
