/** The map of branches: every way through the story, with a picture of each take. */

import { address, storyPath } from "./api.js";
import { compareTakes } from "./compare.js";
import { openDialog } from "./dialog.js";
import { button, element, fill, picture } from "./dom.js";
import { rowsOf } from "./takes.js";

const MOST_CHOSEN = 2;

/**
 * Shows the map; a person chooses a take to go to, or two to compare.
 * @param {ReturnType<import("./store.js").makeStore>} store
 * @param {{choose: (take: import("./takes.js").Take) => Promise<boolean>}} actions
 */
export async function openBranches(store, actions) {
  const { story, tree, state, hello } = store.get();
  const known = new Map(tree.takes.map((take) => [`${take.shot}.${take.take}`, take]));
  const current = new Set(state.branch.map((take, shot) => `${shot}.${take}`));
  const chosen = [];
  const answer = await openDialog("Branches", (close) => {
    const go = button("Go to this take", () => close("go"), { className: "primary" });
    const compare = button("Compare the two", () => close("compare"));
    const count = element("p", { role: "status", className: "hint" });
    const show = () => {
      go.disabled = chosen.length !== 1;
      compare.disabled = chosen.length !== MOST_CHOSEN;
      count.textContent = ["Choose a take to go to, or two to compare.", "One take is chosen.", "Two takes are chosen."][chosen.length];
    };
    const toggle = (name, node) => {
      const at = chosen.indexOf(name);
      if (at >= 0) chosen.splice(at, 1);
      else if (chosen.length < MOST_CHOSEN) chosen.push(name);
      node.setAttribute("aria-pressed", String(chosen.includes(name)));
      show();
    };
    show();
    const rows = rowsOf(tree.branches).map((row) => rowOf(row, { story, known, current, toggle }));
    return [element("ol", { className: "map", "aria-label": "Branches" }, ...rows), count,
      element("div", { className: "choice" }, compare, go)];
  }, { className: "wide" });
  const takes = chosen.map((name) => known.get(name));
  if (answer === "go") await actions.choose(takes[0]);
  if (answer === "compare") await compareTakes(story, takes, hello.fps, actions);
}

/** One branch: shots that it shares with the row above are left empty. */
function rowOf({ takes, shared, current: whole }, { story, known, current, toggle }) {
  const cells = takes.map((number, shot) => {
    if (shot < shared) return element("span", { className: shot === shared - 1 ? "bend" : "gap" });
    const name = `${shot}.${number}`;
    return nodeOf(story, known.get(name), current.has(name), (node) => toggle(name, node));
  });
  return element("li", { className: whole ? "current" : "" }, ...cells);
}

function nodeOf(story, take, current, toggle) {
  const label = `Shot ${take.shot + 1}, take ${take.take + 1}`;
  const node = button("", () => toggle(node), {
    className: current ? "node on" : "node", title: take.text, "aria-pressed": "false",
    "aria-label": `${label}${current ? ", on the current branch" : ""}: ${take.text}`,
  });
  fill(node, picture(address(storyPath(story, "takes", take.shot, take.take, "picture")), ""));
  return element("div", {}, node, element("small", { "aria-hidden": "true" }, label));
}
