"""Make shots one after another and show the frames as they come, in a window or into a file.

python examples/live.py                    # a window, until it is closed
python examples/live.py --output fox.mp4   # a file
"""

import argparse
import time
import tkinter
from collections.abc import Iterator

import numpy as np

import shotstream

SHOTS = ("Wide shot: the fox walks left.", "Medium shot: the fox jumps.", "Close-up: the fox eats.")
FPS, ZOOM = 16, 5


def live_frames(story: shotstream.Story, shots: int, chunks: int) -> Iterator[np.ndarray]:
    """Yield single frames `[h, w, 3]` of one shot after another."""
    for number in range(shots):
        for frames in story.shot(SHOTS[number % len(SHOTS)], chunks):
            yield from frames


def show(frames: Iterator[np.ndarray]) -> None:
    """Play frames in a window at 16 frames a second; return when it is closed or nothing is left."""
    window = tkinter.Tk()
    window.title("ShotStream")
    label = tkinter.Label(window)
    label.pack()
    begun = time.monotonic()
    for number, frame in enumerate(frames):
        height, width, _ = frame.shape
        picture = tkinter.PhotoImage(data=b"P6 %d %d 255 " % (width, height) + frame.tobytes()).zoom(ZOOM)
        time.sleep(max(0, begun + number / FPS - time.monotonic()))
        try:
            label.configure(image=picture)
            window.update()
        except tkinter.TclError:  # the window is closed
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="write a video instead of opening a window")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=3, help="length of a shot, 1 to 7")
    arguments = parser.parse_args()
    model = shotstream.open("storyworld")
    with model.story("A red fox in a forest by day.", seed=7) as story:
        frames = live_frames(story, arguments.shots, arguments.chunks)
        if arguments.output:
            print(f"{sum(1 for _ in frames)} frames")
            story.save(arguments.output)
        else:
            show(frames)


if __name__ == "__main__":
    main()
