"""ShotStream: live multi-shot video. A story in, a video out, directed while it plays."""

__version__ = "0.1.0"
