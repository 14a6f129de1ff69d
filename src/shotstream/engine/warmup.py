"""Warm up a model: load libraries and choose kernels before the first real shot."""

import numpy as np

from shotstream.engine.policies import default_policy, find_system
from shotstream.engine.story import Story
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.weights.build import ModelComponents

GREY = 128


def make_warmup_shot(parts: ModelComponents, chunks: int | None = None, graphs: CudaGraphPool | None = None) -> None:
    """Make a shot of one story and forget it. With a picture in its cast, it encodes a context like every later shot.

    Each chunk of the longest plain shot attends to a window of another size; `chunks` is how many of these are seen
    (None: all), and recorded where there are `graphs`. Policies that need a script make nothing.
    """
    spec = find_system(parts.policy or default_policy(parts.config)).spec
    if not spec.live:
        return
    size = parts.config.video
    with Story(parts, "A warm-up.", graphs=graphs) as story:
        if spec.context:
            story.add_cast(np.full((size.height, size.width, 3), GREY, np.uint8), "A grey picture.")
        for _ in story.shot("Nothing happens.", chunks):
            pass
