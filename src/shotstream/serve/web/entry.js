/** Coming in: a server that wants a token is given one, which this browser keeps. */

import { get, keepToken } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./dom.js";

/**
 * Asks the server for its model and the words that it knows, and the person for the token where it wants one.
 * @returns {Promise<{model: any, words: any[]}>}
 * @throws {import("./api.js").ServerError} it cannot be asked, or the token was not given
 */
export async function comeIn() {
  for (;;) {
    try {
      const [[model], { traits }] = await Promise.all([get("/api/models"), get("/api/words")]);
      return { model, words: traits };
    } catch (error) {
      const token = error.code === "unauthorized" ? await askToken() : "";
      if (!token) throw error;
      keepToken(token);
    }
  }
}

function askToken() {
  return openDialog("This server wants its token", (close) => {
    const field = element("input", {
      type: "password", required: true, autofocus: true, autocomplete: "current-password", "aria-label": "Token",
    });
    const form = element("form", {},
      element("p", {}, "Whoever started it has it. This browser will keep it."), field,
      element("div", { className: "choice" },
        button("Leave it", () => close()), element("button", { type: "submit", className: "primary" }, "Come in")));
    form.onsubmit = (event) => {
      event.preventDefault();
      close(field.value.trim());
    };
    return [form];
  });
}
