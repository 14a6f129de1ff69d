"""A chunk that is not finite stops the story with one line that names where it began."""

import dataclasses
from typing import Any

import pytest
import torch

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.weights.build import random_components


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("network", "place"),
    [("transformer", "the latents of the transformer"), ("codec", "the pixels of the decoder")],
)
def test_the_first_network_that_is_not_finite_is_named(tiny: Any, network: str, place: str, value: float) -> None:
    components = random_components(dataclasses.replace(tiny.parts.config, name="broken"), seed=1)
    weights = {"transformer": "head.head.weight", "codec": "decoder.conv1.weight"}
    with torch.no_grad():
        getattr(components, network).get_parameter(weights[network]).fill_(value)
    with Model(components).story("A fox.") as story, pytest.raises(InputError, match=f"came first in {place}") as error:
        next(story.shot("It waves.", chunks=1))
    assert "\n" not in str(error.value)


def test_a_finite_chunk_passes(tiny: Any) -> None:
    with Model(tiny.parts).story("A fox.") as story:
        assert len(next(story.shot("It waves.", chunks=1)))
