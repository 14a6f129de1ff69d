"""Make a batch of stories with one model. A run that was stopped goes on with the first shot that is missing.

python examples/batch.py videos examples/*.yaml
"""

import sys
from pathlib import Path

import shotstream
from shotstream.story.script_files import load_scripts


def main(directory: Path, files: list[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    model = shotstream.open("storyworld")
    for file in files:
        for script in load_scripts(file):
            name = Path(file).stem
            shots = directory / f"{name}.shots"
            with model.story(script.global_caption, seed=script.seed, directory=shots) as story:
                for shot in script.shots[len(story.history) :]:
                    for _ in story.shot(shot.text, shot.chunks, extend=shot.extend):
                        pass
                story.save(directory / f"{name}.mp4")
                print(f"{name}.mp4: {len(story.history)} shots", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
