/** Modal dialogs: the browser closes them with Esc and puts the focus back where it was. */

import { button, element } from "./dom.js";

let count = 0;

/**
 * Opens a dialog.
 * @param {string} title
 * @param {(close: (value?: string) => void) => (Node|string)[]} content
 * @param {Record<string, any>} [properties] of the dialog element
 * @returns {Promise<string>} the value it was closed with; "" where it was cancelled
 */
export function openDialog(title, content, properties = {}) {
  const id = `dialog-${(count += 1)}`;
  const dialog = element("dialog", { "aria-labelledby": id, ...properties });
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
