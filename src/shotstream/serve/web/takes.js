/** The tree of takes: which other takes a shot has, and how to stand on one. Pure. */

/**
 * @typedef {object} Take
 * @property {number} shot
 * @property {number} take
 * @property {number|null} parent the take of the shot before that it goes on from
 * @property {string} text
 * @property {number} seed
 * @property {number} chunks
 * @property {number} frames
 * @property {import("./store.js").Member[]} cast the members that it knew, as they were then
 * @property {{at: number, text: string}[]} steers
 */

/** The takes that a branch goes through. @param {Take[]} takes @param {number[]} branch @returns {Take[]} */
export function along(takes, branch) {
  return branch.map((number, shot) => takes.find((take) => take.shot === shot && take.take === number)).filter(Boolean);
}

/**
 * All takes that could stand at a shot of a branch: those that go on from the same take of the shot before.
 * @param {Take[]} takes
 * @param {number[]} branch
 * @param {number} shot at most the branch's length: then what could follow it
 * @returns {Take[]}
 */
export function choices(takes, branch, shot) {
  const before = shot ? branch[shot - 1] : null;
  return takes.filter((take) => take.shot === shot && take.parent === before);
}

/**
 * The branch that goes through a take, to the newest end of the tree.
 * @param {Take[]} takes
 * @param {number[]} branch one that the take could stand on
 * @param {Take} chosen
 * @returns {number[]}
 */
export function branchThrough(takes, branch, chosen) {
  const way = [...branch.slice(0, chosen.shot), chosen.take];
  for (let next = chosen; next; ) {
    next = takes.findLast((take) => take.shot === way.length && take.parent === way.at(-1));
    if (next) way.push(next.take);
  }
  return way;
}

/**
 * Orders branches so that those that begin alike stand together, as the rows of a map.
 * @param {{takes: number[], current: boolean}[]} branches
 * @returns {{takes: number[], current: boolean, shared: number}[]} `shared` shots are those of the row above
 */
export function rowsOf(branches) {
  const ordered = [...branches].sort((a, b) => compare(a.takes, b.takes));
  return ordered.map((branch, row) => {
    const above = ordered[row - 1]?.takes ?? [];
    const differs = branch.takes.findIndex((take, shot) => take !== above[shot]);
    return { ...branch, shared: differs < 0 ? branch.takes.length : differs };
  });
}

function compare(a, b) {
  const shot = a.findIndex((take, at) => take !== b[at]);
  return shot < 0 ? a.length - b.length : a[shot] - (b[shot] ?? -1);
}

/** The takes that share the shot before with this one, itself among them. @param {Take[]} takes @param {Take} take */
export function siblings(takes, take) {
  return takes.filter((one) => one.shot === take.shot && one.parent === take.parent);
}

/** The branch through a take, wherever it is in the tree, to the newest end. @param {Take[]} takes @param {Take} take */
export function wayThrough(takes, take) {
  const before = [];
  for (let at = take; at.shot; ) {
    at = takes.find((one) => one.shot === at.shot - 1 && one.take === at.parent);
    before.unshift(at.take);
  }
  return branchThrough(takes, before, take);
}
