/**
 * The order and the clock of playback: frames come in bursts, a chunk at a time, and leave one by one at the story's
 * pace. Pure: time is handed in, nothing is drawn.
 */

import { placeOf } from "./packet.js";

/** Video that waits before playback begins or goes on after it ran dry. */
export const START_S = 0.4;
/** A screen that was late by more than this goes on from now; by less, it catches up frame by frame. */
const LATE_MS = 300;

/** Frames that wait, and when the next one is due. */
export class Playout {
  /** @param {number} fps */
  constructor(fps) {
    this.fps = fps;
    this._waiting = [];
    this._dueMs = null; // null: not playing, until enough waits
    this._startFrames = Math.ceil(START_S * fps);
    this._needed = this._startFrames;
    this._more = true;
  }

  /** Frames that wait. */
  get length() {
    return this._waiting.length;
  }

  /** Seconds of video that wait. */
  get seconds() {
    return this._waiting.length / this.fps;
  }

  /** The frames that are due first. @param {number} count @returns {object[]} */
  next(count) {
    return this._waiting.slice(0, count);
  }

  /** One more frame waits. @param {object} frame */
  push(frame) {
    this._waiting.push(frame);
  }

  /** Whether the server makes more: if not, what waits is played to its end. @param {boolean} more */
  expect(more) {
    this._more = more;
  }

  /**
   * Drops what waits, or what came after a frame; the next frame that comes shows as soon as its time has come.
   * @param {string|null} after the last frame to keep, as SHOT.TAKE.FRAME
   */
  flush(after = null) {
    this._waiting = this._waiting.slice(0, 1 + this._waiting.findIndex((frame) => placeOf(frame) === after));
    if (!this._waiting.length) this._dueMs = null;
    this._needed = 1;
  }

  /** Drops all but the newest frames: a page that was out of sight comes back to the present. */
  toPresent() {
    this._waiting = this._waiting.slice(-this._startFrames);
  }

  /**
   * The frame to show now; null when none is due.
   * @param {number} nowMs on any clock that only goes forward
   * @param {(frame: object) => boolean} ready whether a frame can be shown; what is not is waited for
   * @returns {object|null}
   */
  take(nowMs, ready = () => true) {
    if (!this._waiting.length) {
      if (this._dueMs !== null && nowMs >= this._dueMs) this._runDry();
      return null;
    }
    if (this._dueMs === null) {
      if (this._more && this._waiting.length < this._needed) return null;
      this._dueMs = nowMs;
    }
    if (nowMs < this._dueMs || !ready(this._waiting[0])) return null;
    const late = nowMs - this._dueMs > LATE_MS;
    this._dueMs = (late ? nowMs : this._dueMs) + 1000 / this.fps;
    this._needed = this._startFrames;
    return this._waiting.shift();
  }

  _runDry() {
    this._dueMs = null;
    this._needed = this._startFrames;
  }
}
