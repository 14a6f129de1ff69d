/** Messages to the person: a line for what has just happened, and a bar for what has to be waited for. */

import { element } from "./dom.js";

const STAYS_MS = 8000;

/** Makes both lines. */
export function makeSays() {
  const line = element("p", { className: "says", role: "status", "aria-live": "polite" });
  const foot = element("footer", { className: "foot", popover: "manual" }, line);
  const bar = element("p", { className: "bar", role: "status", "aria-live": "polite", hidden: true });
  let timer;

  const put = (text, wrong) => {
    clearTimeout(timer);
    foot.hidePopover();
    foot.showPopover(); // above a dialog that is open
    line.textContent = text;
    line.classList.toggle("wrong", wrong);
    timer = setTimeout(clear, STAYS_MS);
  };
  const clear = () => {
    line.replaceChildren();
    foot.hidePopover();
  };
  return {
    foot,
    bar,
    /** Something happened. @param {string} text */
    say: (text) => put(text, false),
    /** Something could not be done. @param {Error} error */
    fail: (error) => put(sentence(error.message), true),
    /** Something is waited for; null: no longer. @param {string|null} text */
    wait(text) {
      bar.hidden = text === null;
      bar.textContent = text ?? "";
    },
  };
}

/**
 * Turns a message into a sentence with a capital and a full stop.
 * @param {string} text
 * @returns {string}
 */
export function sentence(text) {
  const plain = text.trim() || "Something went wrong.";
  return plain[0].toUpperCase() + plain.slice(1) + (/[.!?]$/.test(plain) ? "" : ".");
}
