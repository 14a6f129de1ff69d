"""Generate a video for each script of a set, so that a model can be evaluated; what is there already is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from shotstream.api import Model
from shotstream.core.atomic_files import make_directory, write_bytes
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS
from shotstream.core.video import VideoWriter, holds_frames
from shotstream.engine.policies import find_system
from shotstream.story.characters import SUFFIX
from shotstream.story.script import Script, format_script
from shotstream.story.script_files import load_scripts


def load_script_set(source: Path) -> dict[str, Script]:
    """Return the scripts of a directory, a CSV or one file, by name.

    Raises:
        InputError: there is no script, or one cannot be read.
    """
    if not source.is_dir():
        scripts = load_scripts(source)
        names = (
            [source.stem] if len(scripts) == 1 else [f"{source.stem}-{number:03d}" for number in range(len(scripts))]
        )
        return dict(zip(names, scripts, strict=True))
    paths = sorted(path for path in source.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
    paths = [path for path in paths if not path.name.endswith(SUFFIX)]
    if not paths:
        raise InputError(f"expected scripts (.json or .yaml) in {source}, found none")
    return {path.stem: load_scripts(path)[0] for path in paths}


def generate_videos(
    open_model: Callable[[], Model], source: Path, output: Path, seed: int, policy: str | None = None
) -> Iterator[str]:
    """Generate the videos of a set of scripts and yield the name of each; finished ones are kept from an earlier run.

    Beside `NAME.mp4` lies `NAME.yaml`, its script, and `NAME.characters.json` where the set has one.

    Args:
        open_model: loads the model; called only if there is something to generate.
        source: see `load_script_set`.
        output: directory of the videos.
        seed: of the first story; the others follow.
        policy: of the model's stories, which says how long their shots are; None: the one that it was made for.

    Raises:
        InputError: there is no such policy, or it cannot make one of the stories.
    """
    make_directory(output)
    model: Model | None = None
    spec = find_system(policy or "shotstream").spec
    for number, (name, script) in enumerate(load_script_set(source).items()):
        path = output / f"{name}.mp4"
        if not holds_frames(path, sum(spec.frames(script))):
            model = model or open_model()
            _generate(model, script, path, seed + number)
        write_bytes(path.with_suffix(".yaml"), format_script(script).encode())
        characters = source / f"{name}{SUFFIX}"
        if characters.is_file():
            path.with_suffix(SUFFIX).write_bytes(characters.read_bytes())
        yield name


def _generate(model: Model, script: Script, path: Path, seed: int) -> None:
    with model.story(script.global_caption, seed=seed, script=script) as story, VideoWriter(path, FPS) as writer:
        for shot in script.shots:
            writer.add(np.concatenate(list(story.shot(shot.text, shot.chunks))))
