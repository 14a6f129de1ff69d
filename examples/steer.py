"""Direct a story from the keyboard while it is made.

    python examples/steer.py story.mp4

A line is the next shot. A line that begins with > steers the shot in the making. The end of the input (Ctrl+D) ends the
story.
"""

import queue
import sys
import threading
from collections import deque

import shotstream

CHUNKS = 4


def read_lines(lines: "queue.Queue[str | None]") -> None:
    """Put every line of the standard input into the queue, and None at its end."""
    for line in sys.stdin:
        if line.strip():
            lines.put(line.strip())
    lines.put(None)


def main(output: str) -> None:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    model = shotstream.open("storyworld")
    waiting: deque[str | None] = deque()
    with model.story("A red fox in a forest by day.", seed=7) as story:
        while (caption := waiting.popleft() if waiting else lines.get()) is not None:
            shot = story.shot(caption.lstrip("> "), CHUNKS)
            for frames in shot:
                print(f"shot {shot.index}: {len(frames)} frames of '{shot.text}'", flush=True)
                while not lines.empty():
                    waiting.append(lines.get())
                if shot.chunks < CHUNKS and waiting and (waiting[0] or "").startswith(">"):
                    shot.steer((waiting.popleft() or "").lstrip("> "))
        story.save(output)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "story.mp4")
