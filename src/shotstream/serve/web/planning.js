/** Plan, then direct: a script as cards that wait in the queue until they are told. */

import { makeCards } from "./cards.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./dom.js";
import { framesOf, seconds } from "./lengths.js";
import { sentence } from "./says.js";
import { notUsed, readScript } from "./script.js";
import { makeScriptCheck } from "./scriptcheck.js";

/**
 * Opens the plan.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {ReturnType<import("./directing.js").makeDirecting>} directing
 * @param {number|null} [id] the queued shot to begin with
 */
export async function openPlan(store, directing, id = null) {
  const { fps } = store.get().hello;
  const list = makeCards(store, directing);
  const sum = element("p", { className: "hint", role: "status" });
  const form = scriptForm(store, directing);
  let unwatch;
  const closed = openDialog("Plan", (close) => {
    const hold = button("Hold", () => directing.pause(true), { title: "The shots that wait are not begun" });
    const all = button("Tell all", async () => (await directing.pause(false)) && close(), { className: "primary" });
    const undo = button("Undo", directing.undo, { "aria-keyshortcuts": "Control+Z" });
    unwatch = store.watch(["state"], ({ state }) => {
      if (!state) return;
      const { queue, paused, branch, work, cast } = state;
      list.show(queue, branch.length + (work ? 2 : 1), cast);
      sum.textContent = summary(queue, paused, fps);
      hold.hidden = !queue.length || paused;
      all.hidden = !queue.length || !paused;
      undo.disabled = !state.undo;
    });
    return [form, list.root, element("div", { className: "choice" }, sum, undo, hold, all)];
  }, { className: "wide plan" });
  if (id !== null) list.focus(id);
  await closed;
  unwatch();
}

function summary(queue, paused, fps) {
  if (!queue.length) return "No shot is planned.";
  const frames = queue.reduce((sum, { chunks }) => sum + framesOf(chunks), 0);
  const what = `${queue.length} ${queue.length === 1 ? "shot" : "shots"}, ${seconds(frames, fps)}`;
  return paused ? `${what}, planned.` : `${what}, being told one after another.`;
}

/** Adds the shots of a script; what is wrong with it is said beside it, and it stays as it was. */
function scriptForm(store, directing) {
  const field = element("textarea", {
    id: "script", rows: 3, maxLength: 100_000, spellcheck: false, required: true, autofocus: true,
    placeholder: "Wide shot of the fox: it waves.\nClose-up: the owl sleeps.", "aria-describedby": "script-note",
  });
  const note = element("p", { id: "script-note", className: "hint", role: "status" });
  const words = makeScriptCheck(field, () => store.get().story);
  const form = element("form", {},
    element("label", { for: "script" }, "Write shots, one a line, or paste a whole script"),
    element("div", {}, field, note, words.root),
    element("div", { className: "choice" }, element("button", { type: "submit" }, "Add to the plan")));
  form.onsubmit = async (event) => {
    event.preventDefault();
    const script = await readScript(field.value, store.get().story).catch((error) => {
      note.textContent = sentence(error.message);
      return null;
    });
    if (!script || !(await directing.plan(script.shots))) return;
    field.value = "";
    words.check();
    const unused = notUsed(script);
    note.textContent = unused && `Its shots are planned.\n${unused}`;
  };
  return form;
}
