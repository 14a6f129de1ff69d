/** Plays the videos of several takes as one: two video elements, of which one plays and the other loads what follows. */

import { element } from "./dom.js";
import { indexAt, lengthOf } from "./timeline.js";

/** One playback of consecutive segments. */
export class Reel {
  /**
   * @param {(take: import("./takes.js").Take) => string} sourceOf the address of a take's video
   * @param {() => import("./timeline.js").Segment[]} segments what is to be played; asked again at every cut
   * @param {(error: Error) => void} failed a video cannot be played
   */
  constructor(sourceOf, segments, failed) {
    this._sourceOf = sourceOf;
    this._segmentsNow = segments;
    this._failed = failed;
    this.segments = segments();
    this.index = 0;
    this.loop = false;
    this.playing = false;
    this._videos = [this._makeVideo(), this._makeVideo()];
    this.root = element("div", { className: "reel" }, ...this._videos);
  }

  /** Seconds from the start of the story. */
  get time() {
    const { start, end } = this.segments[this.index];
    return Math.min(end, start + this._aim(this._front));
  }

  /** The length of all that is played, in seconds. */
  get length() {
    return lengthOf(this.segments);
  }

  /** Whether the last shot has been played to its end. */
  get ended() {
    return this.index === this.segments.length - 1 && this._front.ended;
  }

  /** Plays on; from the start where the end was reached. */
  play() {
    this.playing = true;
    if (this.ended) return this.seek(0);
    return this._start();
  }

  /** Holds the picture. */
  pause() {
    this.playing = false;
    this._front.pause();
  }

  /** Goes to a time, in seconds; plays on from there if it was playing. @param {number} time */
  seek(time) {
    const within = Math.max(0, Math.min(time, this.length));
    const index = indexAt(this.segments, within);
    this._goTo(index, within - this.segments[index].start);
  }

  /** Goes to the start of the shot that many shots on. @param {number} by */
  skip(by) {
    const index = Math.max(0, Math.min(this.index + by, this.segments.length - 1));
    this._goTo(index, 0);
  }

  /** Stops for good. */
  close() {
    this.playing = false;
    for (const video of this._videos) {
      video.onerror = null;
      video.removeAttribute("src");
      video.load();
    }
  }

  get _front() {
    return this._videos[0];
  }

  _makeVideo() {
    const video = element("video", { preload: "auto", muted: true, playsInline: true, tabIndex: -1, "aria-hidden": "true" });
    video.onended = () => video === this._front && this._cut();
    video.onerror = () => video === this._front && this._failed(new Error("This shot cannot be played here."));
    return video;
  }

  /** Where a video stands, or is going to stand once it has loaded. */
  _aim(video) {
    return video.readyState ? video.currentTime : (video.from ?? 0);
  }

  _goTo(index, offset) {
    this._refresh();
    this.index = Math.min(index, this.segments.length - 1);
    const source = this._source(this.index);
    if (this._videos[1].dataset.source === source && this._front.dataset.source !== source) this._videos.reverse();
    this._load(this._front, source, offset);
    this._show();
  }

  _cut() {
    const next = this.index + 1;
    this._refresh();
    if (next < this.segments.length) return this._goTo(next, 0);
    if (this.loop) return this._goTo(0, 0);
    this.playing = false;
    return undefined;
  }

  /** Takes in what the story has become, as long as the shot that plays still has its place in it. */
  _refresh() {
    const now = this._segmentsNow();
    const same = this.segments.slice(0, this.index + 1).every(({ take }, at) => now[at]?.take.take === take.take);
    if (same) this.segments = now;
  }

  _source(index) {
    return this._sourceOf(this.segments[index].take);
  }

  _load(video, source, offset) {
    video.from = offset;
    if (video.dataset.source !== source) {
      video.dataset.source = source;
      video.src = source;
      video.onloadedmetadata = () => (video.currentTime = video.from);
    } else if (video.readyState) {
      video.currentTime = offset;
    }
  }

  _show() {
    const [front, back] = this._videos;
    front.classList.add("front");
    back.classList.remove("front");
    back.pause();
    if (this.playing) this._start();
    const next = this.index + 1 < this.segments.length ? this.index + 1 : 0;
    if (next !== this.index) this._load(back, this._source(next), 0);
  }

  async _start() {
    await this._front.play().catch((error) => error.name !== "AbortError" && this._failed(error));
  }
}
