/** Asks for the server's token where it needs one; this browser keeps it. */

import { get, hasToken, keepToken } from "./api.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./dom.js";
import { useLengths } from "./lengths.js";

const KEPT_IS_WRONG = "The token that this browser kept is not the server's any more.";
const WRONG = "That is not the server's token. Check it and enter it again.";

/**
 * Fetches the model and its words from the server; asks for the token where the server needs one.
 * @returns {Promise<{model: any, words: any[]}>}
 * @throws {import("./api.js").ServerError} the server does not answer, or no token was entered
 */
export async function comeIn() {
  let problem = hasToken() ? KEPT_IS_WRONG : "";
  for (;;) {
    try {
      const [[model], { traits }] = await Promise.all([get("api/models"), get("api/words")]);
      useLengths(model);
      return { model, words: traits };
    } catch (error) {
      const token = error.code === "unauthorized" ? await askToken(problem) : "";
      if (!token) throw error;
      keepToken(token);
      problem = WRONG;
    }
  }
}

function askToken(problem) {
  return openDialog("This server needs a token", (close) => {
    const field = element("input", {
      type: "password", required: true, autofocus: true, autocomplete: "current-password", "aria-label": "Token",
    });
    const form = element("form", {},
      element("p", {}, "The person who started the server has it. This browser will keep it."),
      problem && element("p", { className: "problem", role: "alert" }, problem),
      field,
      element("div", { className: "choice" },
        button("Cancel", () => close()), element("button", { type: "submit", className: "primary" }, "Continue")));
    form.onsubmit = (event) => {
      event.preventDefault();
      close(field.value.trim());
    };
    return [form];
  });
}
