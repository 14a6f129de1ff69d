/** Draws frames on the beat: decodes a few ahead of their time, off the main thread, and hands them to the stage. */

import { Playout } from "./playout.js";

const DECODED_AHEAD = 6;

/** Plays the frames of one story. */
export class Player {
  /**
   * @param {number} fps
   * @param {(picture: ImageBitmap, frame: import("./packet.js").Frame) => void} show
   * @param {(error: Error) => void} failed a picture could not be decoded; it is left out
   */
  constructor(fps, show, failed) {
    this.playout = new Playout(fps);
    this._show = show;
    this._failed = failed;
    this._running = true;
    this._onVisible = () => document.visibilityState === "visible" && this.playout.toPresent();
    document.addEventListener("visibilitychange", this._onVisible);
    requestAnimationFrame((nowMs) => this._tick(nowMs));
  }

  /** A frame has come. @param {import("./packet.js").Frame} frame */
  push(frame) {
    this.playout.push({ ...frame, picture: null, decoding: false });
  }

  /** Ends for good. */
  close() {
    this._running = false;
    document.removeEventListener("visibilitychange", this._onVisible);
  }

  _tick(nowMs) {
    if (!this._running) return;
    for (const frame of this.playout.next(DECODED_AHEAD)) this._decode(frame);
    const frame = this.playout.take(nowMs, ({ picture }) => picture !== null);
    if (frame?.picture) {
      this._show(frame.picture, frame);
      frame.picture.close();
    }
    requestAnimationFrame((later) => this._tick(later));
  }

  async _decode(frame) {
    if (frame.decoding) return;
    frame.decoding = true;
    try {
      frame.picture = await createImageBitmap(new Blob([frame.bytes], { type: "image/jpeg" }));
    } catch (error) {
      frame.picture = false;
      this._failed(error);
    }
  }
}
