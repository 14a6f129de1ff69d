"""A story before it is a video: script, captions, which frames are remembered, where they sit."""
