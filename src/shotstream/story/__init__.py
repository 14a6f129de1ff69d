"""A story before it is a video: script, captions, context frames, positions."""
