"""The HTTP and WebSocket side of the server: app, routes, middleware."""
