/** Live figures: pictures a second, how soon an instruction shows, and how much video waits. */

import { element } from "./dom.js";

const SPAN_MS = 2000;
const REFRESH_MS = 250;

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

/**
 * The line of figures.
 * @param {Meter} meter
 * @param {() => number} waiting seconds of video that wait
 * @returns {HTMLElement}
 */
export function makeFigures(meter, waiting) {
  const figure = (name, title) => {
    const value = element("dd", {}, "–");
    return [element("div", { title }, element("dt", {}, name), value), value];
  };
  const [fpsPart, fps] = figure("fps", "Pictures shown a second");
  const [latencyPart, latency] = figure("latency", "From your last instruction to its first picture");
  const [bufferPart, buffer] = figure("buffer", "Video that waits to be shown");
  setInterval(() => {
    const rate = meter.fps(performance.now());
    fps.textContent = rate ? rate.toFixed(1) : "–";
    latency.textContent = meter.latencyMs === null ? "–" : `${Math.round(meter.latencyMs)} ms`;
    buffer.textContent = `${waiting().toFixed(1)} s`;
  }, REFRESH_MS);
  return element("dl", { className: "figures", "aria-label": "Live figures" }, fpsPart, latencyPart, bufferPart);
}
