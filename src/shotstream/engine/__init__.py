"""Make shots: sample a chunk, roll out a shot over the KV cache, decode frames, stream a story."""
