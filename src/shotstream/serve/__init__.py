"""Telling stories to browsers: a worker that owns the model, a store that survives it, HTTP and WebSockets."""
