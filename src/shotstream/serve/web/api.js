/** HTTP to the server; the token goes along, and an error comes back in the server's words. */

const TOKEN = "shotstream-token";

/** An answer that is no success: a code of `docs/protocol.md`, and a sentence. */
export class ServerError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Whether this browser keeps a token. @returns {boolean} */
export function hasToken() {
  return Boolean(localStorage.getItem(TOKEN));
}

/** Keeps a token for this browser's tabs, now and later. @param {string} token */
export function keepToken(token) {
  localStorage.setItem(TOKEN, token);
}

/** Takes the token out of the address bar, where there is one, and keeps it. */
export function takeToken() {
  const here = new URL(location.href);
  const token = here.searchParams.get("token");
  if (token === null) return;
  keepToken(token);
  here.searchParams.delete("token");
  history.replaceState(null, "", here);
}

/**
 * An address with the token and other parameters, for what cannot send headers.
 * @param {string} path
 * @param {Record<string, string|null>} [parameters] null is left out
 * @returns {string}
 */
export function address(path, parameters = {}) {
  const given = Object.entries({ ...parameters, token: localStorage.getItem(TOKEN) });
  const query = new URLSearchParams(given.filter(([, value]) => value !== null));
  return query.size ? `${path}?${query}` : path;
}

/**
 * Asks the server.
 * @param {string} method
 * @param {string} path
 * @param {{json?: object, body?: Blob}} [sent]
 * @returns {Promise<Response>} a success
 * @throws {ServerError}
 */
export async function ask(method, path, { json, body } = {}) {
  const token = localStorage.getItem(TOKEN);
  const headers = { ...(token && { Authorization: `Bearer ${token}` }) };
  if (json) headers["Content-Type"] = "application/json";
  if (body) headers["Content-Type"] = body.type || "application/octet-stream";
  let reply;
  try {
    reply = await fetch(path, { method, headers, body: json ? JSON.stringify(json) : body });
  } catch {
    throw new ServerError("offline", "The server does not answer.");
  }
  if (reply.ok) return reply;
  const problem = await reply.json().catch(() => ({}));
  throw new ServerError(problem.code ?? "internal", problem.message ?? `The server answered ${reply.status}.`);
}

/** What the server answers to a GET, as data. @param {string} path @returns {Promise<any>} */
export async function get(path) {
  return (await ask("GET", path)).json();
}

/** What it answers to a POST, as data. @param {string} path @param {object} json @returns {Promise<any>} */
export async function post(path, json) {
  return (await ask("POST", path, { json })).json();
}

/** Where a story lies, from the page on: the server may stand below a path of another one. @param {string} story @param {...(string|number)} parts @returns {string} */
export function storyPath(story, ...parts) {
  return ["api/stories", story, ...parts].map((part, at) => (at ? encodeURIComponent(part) : part)).join("/");
}
