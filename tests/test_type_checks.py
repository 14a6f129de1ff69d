"""The shapes in annotations of the package are checked while tests run."""

import jaxtyping
import pytest
import torch

from shotstream.engine.sampler import Sampler
from shotstream.model.text_encoder import trim_padding


def test_a_wrong_shape_is_found() -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    assert trim_padding(ids, ids + 1)[0].shape == (2, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        trim_padding(ids, ids[:1])


def test_functions_that_name_no_shape_are_not_wrapped() -> None:
    assert not hasattr(Sampler.from_config, "__wrapped__")
    assert hasattr(trim_padding, "__wrapped__")
