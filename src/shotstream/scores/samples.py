"""Generate sample videos of a model in training: a fixed set of stories, one contact sheet, and their scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from shotstream.api import Model
from shotstream.core.atomic_files import make_directory
from shotstream.core.images import contact_sheet, write_png
from shotstream.core.spec import FPS
from shotstream.core.video import Frames, VideoWriter
from shotstream.scores.story_scores import held_out_stories, make_story, score_stories
from shotstream.story.script import Script
from shotstream.world.trait_reader import TraitReader

SAMPLE_STORIES = 10_000
"""Held-out stories from this one on are for samples, and not for scores that are reported."""


def story_sheet(stories: Sequence[Sequence[Frames]]) -> UInt8[np.ndarray, "H W 3"]:
    """Return a contact sheet, one story a row: first and last frame of each shot, black behind the last shot."""
    columns = 2 * max(map(len, stories))
    rows = []
    for shots in stories:
        frames = [shot[index] for shot in shots for index in (0, len(shot) - 1)]
        rows += [*frames, *[np.zeros_like(frames[0])] * (columns - len(frames))]
    return contact_sheet(np.stack(rows), columns)


def sample_world(model: Model, directory: Path, stories: int) -> Mapping[str, float]:
    """Generate held-out StoryWorld stories, write them, and return the trait reader's scores by trait, in [0, 1]."""
    made = [make_story(model, story, seed=seed) for seed, story in enumerate(held_out_stories(stories, SAMPLE_STORIES))]
    write_samples(directory, [story.shots for story in made])
    scores = score_stories(TraitReader.load(), made)
    rates = {f"reader/{trait}": share.rate for trait, share in scores.visible.items()}
    kept = {f"reader/kept_{trait}": share.rate for trait, share in scores.kept.items() if share.total}
    return {**rates, **kept, "reader/cut_accuracy": scores.cuts.accuracy.value}


def sample_scripts(model: Model, directory: Path, scripts: Sequence[Script]) -> Mapping[str, float]:
    """Generate stories of scripts and write them; scripts have no ground truth, so there are no scores."""
    made = []
    for seed, script in enumerate(scripts):
        with model.story(script.global_caption, seed=seed, script=script) as story:
            made.append([np.concatenate(list(story.shot(shot.text, shot.chunks))) for shot in script.shots])
    write_samples(directory, made)
    return {}


def write_samples(directory: Path, stories: Sequence[Sequence[Frames]]) -> None:
    """Write each story as a video, and all of them as one contact sheet.

    Raises:
        InputError: a file cannot be written.
    """
    make_directory(directory)
    for number, shots in enumerate(stories):
        with VideoWriter(directory / f"{number:02d}.mp4", FPS) as writer:
            for frames in shots:
                writer.add(frames)
    write_png(directory / "sheet.png", story_sheet(stories))
