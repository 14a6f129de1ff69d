"""Warm up a model: load libraries and choose kernels before the first real shot."""

import numpy as np

from shotstream.core.spec import MAX_CHUNKS
from shotstream.engine.policies import default_policy, find_system
from shotstream.engine.story import Story
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.weights.build import ModelComponents

GREY = 128


def make_warmup_shot(parts: ModelComponents, chunks: int = MAX_CHUNKS, graphs: CudaGraphPool | None = None) -> None:
    """Make a shot of one story and forget it. With a picture in its cast, it encodes a context like every later shot.

    Each of the first 7 chunks attends to a window of another size; `chunks` is how many of these are seen, and
    recorded where there are `graphs`. Policies that need a script make nothing.
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
