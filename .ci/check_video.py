"""Checks that a video is one to watch: it opens, has the frames its story asks for, moves, and is not flat."""

import sys
from pathlib import Path

import numpy as np

from shotstream.core.spec import FPS, PAPER_SHOT
from shotstream.core.video import probe_video, read_video
from shotstream.story.script_files import load_scripts


def main(video: str, script: str) -> None:
    """Raises AssertionError where the video is not what the script asks for."""
    info = probe_video(video)
    wanted = sum(PAPER_SHOT.frames_of_chunks(shot.chunks) for shot in load_scripts(script)[0].shots)
    assert info.frames == wanted, f"expected {wanted} frames, got {info.frames}"
    assert round(info.fps) == FPS, f"expected {FPS} frames a second, got {info.fps}"
    frames = read_video(video).astype(np.float32)
    assert frames.std() > 20, "the pictures are flat"
    assert np.abs(np.diff(frames, axis=0)).mean() > 0.2, "nothing moves"
    sys.stdout.write(f"{Path(video).name}: {info.frames} frames of {info.width}x{info.height}\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
