"""Play a story with choices. Going back makes another branch; at the end every branch is a video.

python examples/game.py endings
"""

import sys
from pathlib import Path

import shotstream

CHUNKS = 2
SCENES = {
    "start": ("Wide shot: the fox walks right.", {"1": ("wave to somebody", "wave"), "2": ("have a snack", "eat")}),
    "wave": ("Medium shot: the fox waves.", {"1": ("dance", "dance"), "2": ("take a nap", "sleep")}),
    "eat": ("Close-up: the fox eats.", {"1": ("take a nap", "sleep")}),
    "dance": ("Wide shot: the fox dances.", {}),
    "sleep": ("Close-up: the fox sleeps.", {}),
}
"""Every scene: its caption, and its choices: key -> (what is shown, the next scene)."""


def ask(choices: dict[str, tuple[str, str]], *, back: bool) -> str:
    """Return the key that the player chose: that of a choice, `b` for back, or `q`."""
    keys = [*choices, *(["b"] if back else []), "q"]
    shown = [f"{key}: {text}" for key, (text, _) in choices.items()] + (["b: go back"] if back else []) + ["q: end"]
    print("  ".join(shown), flush=True)
    while (key := sys.stdin.readline().strip() or "q") not in keys:
        print(f"choose one of {', '.join(keys)}", flush=True)
    return key


def play(story: shotstream.Story, scene: str) -> None:
    """Make the shot of a scene."""
    caption, _ = SCENES[scene]
    frames = sum(len(chunk) for chunk in story.shot(caption, CHUNKS))
    print(f"{caption} ({frames} frames)")


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    model = shotstream.open("storyworld")
    with model.story("A red fox in a village at dusk.", seed=3) as story:
        path = ["start"]
        play(story, path[-1])
        while (key := ask(SCENES[path[-1]][1], back=len(path) > 1)) != "q":
            if key == "b":
                path.pop()
                story.rewind(len(path))  # the shot that was made stays, on a branch of its own
            else:
                path.append(SCENES[path[-1]][1][key][1])
                play(story, path[-1])
        branches = story.branches()
        for number, branch in enumerate(branches):
            story.switch(branch)
            story.save(directory / f"ending-{number}.mp4")
    print(f"{len(branches)} videos in {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "endings"))
