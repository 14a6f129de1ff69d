"""Read the published files of the tiny VAE decoder (TAEHV's `taew2_1`)."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.config import TinyDecoderConfig
from shotstream.model.device import shapes_only
from shotstream.model.names import identify
from shotstream.model.tiny_vae import TinyDecoder
from shotstream.weights.load import compare_tensors
from shotstream.weights.tensors import read_tensors

PUBLISHED_FILES = ("taew2_1.safetensors", "taew2_1.pth")
WIDTH_LAYERS = (1, 8, 14, 20)
"""Convolutions whose output has the width of each level, and of the full picture."""
ENCODER_PREFIX = "encoder."


def read_tiny_decoder(path: Path) -> tuple[TinyDecoderConfig, dict[str, Tensor]]:
    """Read configuration and tensors (published names) of a tiny decoder from a file.

    Raises:
        InputError: the file cannot be read, or holds anything else.
    """
    tensors = read_tensors(path)
    config = _config_of(tensors)
    if config is None:
        found = identify(tensors)
        what = found[1] if found and found[0] != "tiny_decoder" else "a network of another build"
        raise InputError(f"{path}: expected a tiny VAE for Wan2.1 ({' or '.join(PUBLISHED_FILES)}), got {what}")
    state = {name: value for name, value in tensors.items() if not name.startswith(ENCODER_PREFIX)}
    with shapes_only():
        network = TinyDecoder(config)
    if mismatch := compare_tensors(network, state):
        raise InputError(f"{path}: the tensors do not fit a tiny VAE for Wan2.1: {mismatch.report()}")
    return config, state


def _config_of(state: Mapping[str, Tensor]) -> TinyDecoderConfig | None:
    shapes = [tuple(state[name].shape) for layer in WIDTH_LAYERS if (name := f"decoder.{layer}.weight") in state]
    if [len(shape) for shape in shapes] != [4] * len(WIDTH_LAYERS):
        return None
    return TinyDecoderConfig(latent_channels=shapes[0][1], widths=tuple(shape[0] for shape in shapes))
