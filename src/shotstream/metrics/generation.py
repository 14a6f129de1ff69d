"""Generate a video for each script of a set, so that a model can be evaluated; finished videos are kept."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shotstream.api import Model
from shotstream.core.atomic_files import write_bytes
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, ShotShape
from shotstream.core.video import VideoWriter, holds_frames
from shotstream.engine.policies import find_system
from shotstream.metrics.videos import UnreadableVideo
from shotstream.scores.saved_stories import claim_stories
from shotstream.story.characters import SUFFIX
from shotstream.story.script import Script, format_script
from shotstream.story.script_files import load_scripts

_log = logging.getLogger(__name__)


def load_script_set(source: Path, shape: ShotShape) -> dict[str, Script | UnreadableVideo]:
    """Return the scripts of a directory, a CSV or one file, by name; one of a directory may be unreadable.

    `shape` is of the model's shots.

    Raises:
        InputError: there is no script, two have one name, or the only file cannot be read.
    """
    if not source.is_dir():
        scripts = load_scripts(source, shape=shape)
        names = (
            [source.stem] if len(scripts) == 1 else [f"{source.stem}-{number:03d}" for number in range(len(scripts))]
        )
        return dict(zip(names, scripts, strict=True))
    paths = sorted(path for path in source.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
    paths = [path for path in paths if not path.name.endswith(SUFFIX)]
    if not paths:
        raise InputError(f"expected scripts (.json or .yaml) in {source}, found none")
    names = [path.stem for path in paths]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{source} has two scripts called {twice}; rename one, because the videos have their names")
    return {path.stem: _load(path, shape) for path in paths}


def _load(path: Path, shape: ShotShape) -> Script | UnreadableVideo:
    try:
        return load_scripts(path, shape=shape)[0]
    except InputError as error:
        return UnreadableVideo(path.stem, str(error))


def generate_videos(
    model: Model, source: Path, output: Path, seed: int, depends: Mapping[str, Any], policy: str | None = None
) -> Iterator[tuple[str, str]]:
    """Generate the videos of a set of scripts; yield the name of each, and why it could not be made, or "".

    Videos of an earlier run are kept where their script is still the same. Beside `NAME.mp4` lies `NAME.yaml`, its
    script, and `NAME.characters.json` where the set has one.

    Args:
        model: makes the stories.
        source: see `load_script_set`.
        output: directory of the videos.
        seed: of the first story; the others follow.
        depends: what the videos depend on besides the model's weights, the seed and the policy, as plain data.
        policy: of the model's stories, which says how long their shots are; None: the one that it was made for.

    Raises:
        InputError: there is no such policy, no script, or the output has videos of something else.
    """
    spec = find_system(policy or "shotstream").spec
    scripts = load_script_set(source, model.config.shot)
    claim_stories(output, {**depends, "weights": model.parts.fingerprint, "seed": seed, "policy": policy})
    for number, (name, script) in enumerate(scripts.items()):
        if isinstance(script, UnreadableVideo):
            yield name, script.reason
            continue
        path, text = output / f"{name}.mp4", format_script(script).encode()
        described = path.with_suffix(".yaml")
        try:
            if not (_holds(described, text) and holds_frames(path, sum(spec.frames(script, model.config.shot)))):
                _generate(model, script, path, seed + number)
                write_bytes(described, text)
        except Exception as error:
            _log.debug("%s failed", name, exc_info=True)
            yield name, str(error).strip().split("\n")[0] or type(error).__name__
            continue
        characters = source / f"{name}{SUFFIX}"
        if characters.is_file():
            write_bytes(path.with_suffix(SUFFIX), characters.read_bytes())
        yield name, ""


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _generate(model: Model, script: Script, path: Path, seed: int) -> None:
    with model.story(script.global_caption, seed=seed, script=script) as story, VideoWriter(path, FPS) as writer:
        for shot in script.shots:
            writer.add(np.concatenate(list(story.shot(shot.text, shot.chunks))))
