/** Dialogs, which the browser makes modal, closes with Esc, and whose focus it gives back. */

import { button, element } from "./dom.js";

let count = 0;

/**
 * Opens a dialog.
 * @param {string} title
 * @param {(close: (value?: string) => void) => (Node|string)[]} content
 * @returns {Promise<string>} what it was closed with; "" where it was left
 */
export function openDialog(title, content) {
  const id = `dialog-${(count += 1)}`;
  const dialog = element("dialog", { "aria-labelledby": id });
  const close = (value = "") => dialog.close(value);
  dialog.append(
    element("header", {}, element("h2", { id }, title), button("×", () => close(), { className: "x", "aria-label": "Close" })),
    ...content(close),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      dialog.remove();
      resolve(dialog.returnValue);
    };
  });
}

/** Whether a dialog is open. @returns {boolean} */
export function dialogOpen() {
  return document.querySelector("dialog[open]") !== null;
}

/**
 * Asks for a yes.
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says
 * @returns {Promise<boolean>}
 */
export async function confirmed(title, text, yes) {
  const answer = await openDialog(title, (close) => [
    element("p", {}, text),
    element("div", { className: "choice" },
      button("Keep it", () => close(), { autofocus: true }),
      button(yes, () => close("yes"), { className: "danger" })),
  ]);
  return answer === "yes";
}
