"""The server: a worker thread that owns the model, a store on disk, HTTP and WebSockets."""
