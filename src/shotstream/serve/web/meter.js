/** Measures playback: pictures a second, and how soon an instruction shows. */

const SPAN_MS = 2000;

/** Counts what is shown; time is handed in. */
export class Meter {
  constructor() {
    this._shownMs = [];
    this._asked = null;
    this._flushed = false;
    /** Milliseconds from the last instruction to the first frame of it on the screen; null before there was one. */
    this.latencyMs = null;
  }

  /** An instruction was given. @param {number} nowMs */
  asked(nowMs) {
    this._asked = nowMs;
    this._flushed = false;
  }

  /** The server took it: what comes from now on follows it. */
  flushed() {
    this._flushed = this._asked !== null;
  }

  /** A frame is on the screen. @param {number} nowMs */
  shown(nowMs) {
    this._shownMs.push(nowMs);
    if (this._flushed) {
      this.latencyMs = nowMs - this._asked;
      this._asked = null;
      this._flushed = false;
    }
  }

  /** Pictures a second of late; 0 while the picture stands still. @param {number} nowMs @returns {number} */
  fps(nowMs) {
    this._shownMs = this._shownMs.filter((ms) => nowMs - ms <= SPAN_MS);
    const [first, last] = [this._shownMs[0], this._shownMs.at(-1)];
    return this._shownMs.length > 1 && nowMs - last < SPAN_MS / 4
      ? (1000 * (this._shownMs.length - 1)) / (last - first)
      : 0;
  }
}
