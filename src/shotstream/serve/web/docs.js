/** The page of the API: Swagger UI on the server's own description, with the token that the studio keeps. */

import { address, takeToken } from "./api.js";

takeToken();
window.SwaggerUIBundle({
  url: address("api/openapi.json"),
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
});
