/** What holds for the whole story, beside the picture; and with how the story plays, in a dialog. */

import { openDialog } from "./dialog.js";
import { button, element, fill } from "./dom.js";

const REFRESH_MS = 250;

/**
 * Makes the line of guidance and what to avoid, and the button that shows all details.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {import("./meter.js").Meter} meter
 * @param {() => number} waiting seconds of video that wait to be shown
 * @returns {HTMLElement}
 */
export function makeDetails(store, meter, waiting) {
  const line = element("p", { className: "guided" });
  store.watch(["state", "guidance"], (known) => {
    const { guidance, avoid } = guidedBy(known);
    fill(line, guidance && element("span", {}, `Guidance ${guidance}`), avoid && element("span", { title: avoid }, `Avoids: ${avoid}`));
  });
  const open = button("Details", () => openDetails(store.get(), meter, waiting), { className: "quiet", "aria-haspopup": "dialog" });
  store.watch(["hello"], ({ hello }) => (open.disabled = !hello));
  return element("div", { className: "about" }, line, open);
}

/** The guidance that a story's shots are made with, "" where its model takes none, and its negative prompt. */
function guidedBy({ state, guidance }) {
  if (guidance === null || !state) return { guidance: "", avoid: "" };
  return { guidance: String(state.guidance ?? "off"), avoid: state.negative_prompt };
}

async function openDetails(known, meter, waiting) {
  const { hello, seed } = known;
  const { guidance, avoid } = guidedBy(known);
  const playback = makePlayback(meter, waiting);
  const timer = setInterval(playback.show, REFRESH_MS);
  await openDialog("Details", () => [
    element("dl", { className: "details" },
      fact("Who and where", hello.global_caption),
      guidance && fact("Guidance", guidance, "how closely it follows the text; it holds for the whole story"),
      guidance && fact("What to avoid", avoid || "nothing"),
      seed !== null && fact("Seed", String(seed), "of shots that have none of their own")),
    element("h3", {}, "Playback"),
    playback.root,
  ]);
  clearInterval(timer);
}

function fact(name, value, why = "") {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value, why && element("small", {}, why)));
}

/** How the story plays; `show` reads it anew. */
function makePlayback(meter, waiting) {
  const value = () => element("span", {}, "–");
  const [rate, response, ready] = [value(), value(), value()];
  const show = () => {
    const now = meter.fps(performance.now());
    rate.textContent = now ? `${now.toFixed(1)} pictures a second` : "The picture stands still";
    response.textContent = meter.latencyMs === null ? "–" : `${(meter.latencyMs / 1000).toFixed(2)} s`;
    ready.textContent = `${waiting().toFixed(1)} s of video`;
  };
  show();
  const root = element("dl", { className: "details playback" },
    fact("Pace", rate), fact("Response", response, "from your last instruction to its first picture"),
    fact("In reserve", ready, "made and not shown yet; about half a second keeps playback steady"));
  return { root, show };
}
