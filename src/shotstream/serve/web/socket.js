/** The connection to a story: frames and news down, commands up; it comes back by itself when it breaks. */

import { ServerError, address, storyPath } from "./api.js";
import { placeOf, readPacket } from "./packet.js";

const FIRST_DELAY_MS = 400;
const LONGEST_DELAY_MS = 8000;
/** After these the story cannot be watched however often one tries. */
const FINAL = new Set(["not_found", "invalid", "unauthorized", "forbidden"]);

/**
 * @typedef {object} Listener
 * @property {() => ({shot: number, take: number, frame: number}|null)} resume drops what waits to be shown, since it
 *   is sent again, and says which frame was shown last
 * @property {(frame: import("./packet.js").Frame) => void} frame
 * @property {(message: any) => void} message every message but `done` and the errors of commands
 * @property {(again: number) => void} broken it is tried for the n-th time, from 1
 * @property {(error: ServerError) => void} refused it will not be tried again
 */

/** One story's connection. */
export class Connection {
  /** @param {string} story @param {Listener} listener */
  constructor(story, listener) {
    this._story = story;
    this._listener = listener;
    this._commands = new Map();
    this._nextId = 1;
    this._tries = 0;
    this._left = false;
    this._problem = null;
    this._open();
  }

  /**
   * Sends a command.
   * @param {object} command
   * @returns {Promise<{notes: {code: string, message: string}[]}>} once it is carried out, and what to know about it
   * @throws {ServerError}
   */
  send(command) {
    if (this._socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new ServerError("offline", "There is no connection to the server yet; it is being tried."));
    }
    const id = this._nextId++;
    this._socket.send(JSON.stringify({ ...command, id }));
    return new Promise((resolve, reject) => this._commands.set(id, { resolve, reject }));
  }

  /** Leaves the story for good. */
  close() {
    this._left = true;
    clearTimeout(this._timer);
    this._socket.close();
  }

  _open() {
    const seen = this._listener.resume();
    const path = address(`${storyPath(this._story)}/watch`, { seen: seen && placeOf(seen) });
    const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => (typeof data === "string" ? this._hear(JSON.parse(data)) : this._see(data));
    socket.onclose = () => this._closed();
    this._socket = socket;
  }

  _see(data) {
    if (!this._left) this._listener.frame(readPacket(data));
  }

  _hear(message) {
    if (this._left) return;
    if (message.type === "hello") this._tries = 0;
    if (message.type === "done") return this._settle(message.id)?.resolve(message);
    if (message.type === "error") {
      const error = new ServerError(message.code, message.message);
      if (message.id !== null) return this._settle(message.id)?.reject(error);
      this._problem = error;
    }
    this._listener.message(message);
  }

  _settle(id) {
    const waiting = this._commands.get(id);
    this._commands.delete(id);
    return waiting;
  }

  _closed() {
    for (const { reject } of this._commands.values()) {
      reject(new ServerError("offline", "The connection broke before the server had answered; look whether it is done."));
    }
    this._commands.clear();
    if (this._left) return;
    if (this._problem && FINAL.has(this._problem.code)) return this._listener.refused(this._problem);
    this._problem = null;
    this._tries += 1;
    this._listener.broken(this._tries);
    this._timer = setTimeout(() => this._open(), Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 1.7 ** (this._tries - 1)));
  }
}
