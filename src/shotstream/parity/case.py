"""Read a directory of recorded tensors and compare the engine's results with them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from shotstream.core.config import from_dict
from shotstream.core.errors import InputError
from shotstream.model.config import TextEncoderConfig, TransformerConfig
from shotstream.model.device import shapes_only
from shotstream.model.names import Component
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.model.wan_vae import WanVAE, wan_vae_config
from shotstream.weights.load import load_into, read_component
from shotstream.weights.tensors import read_json, read_tensors

N = TypeVar("N", bound=nn.Module)
C = TypeVar("C")

CPU_TOLERANCE = 1e-5
ACCELERATOR_TOLERANCE = 1e-3
BFLOAT16_TOLERANCE = 2e-2
COARSE_BFLOAT16_TOLERANCE = 6e-2
"""For codec and text encoder: on the recorded ones, rounding the weights alone costs 3.3e-2 and 2.4e-2."""
PIXEL_LEVELS = 255
TEXT_ENCODER_KEYS = {"vocab": "vocab_size", "dim_attn": "attention_dim", "dim_ffn": "ffn_dim"}
"""Keys of the text encoder's recorded configuration that have another name here."""


@dataclass(frozen=True)
class CaseResult:
    """One line of a verification. `error` is max|a - b| / max|b|, None where nothing could be compared."""

    name: str
    error: float | None
    tolerance: float | None
    passed: bool
    note: str = ""


class Recording:
    """The tensors of one file on one device; a name that is not there is an InputError."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path = path
        self._tensors = {name: tensor.to(device) for name, tensor in read_tensors(path).items()}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise InputError(f"{self._path.name}: expected a tensor '{name}', found none")
        return self._tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors


class Golden:
    """A directory of recorded tensors, and the engine's networks with the weights that lie there.

    Everything runs on `device`, the networks in `dtype`. Networks are read once.
    """

    def __init__(self, directory: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.directory, self.device, self.dtype = directory, device, dtype
        self._networks: dict[str, nn.Module] = {}

    @property
    def tolerance(self) -> float:
        """Return the relative error that rounding explains on this device and in this precision."""
        if self.dtype == torch.bfloat16:
            return BFLOAT16_TOLERANCE
        return CPU_TOLERANCE if self.device.type == "cpu" else ACCELERATOR_TOLERANCE

    @property
    def coarse_tolerance(self) -> float:
        """Return the tolerance for outputs of codec and text encoder, which magnify the rounding of bfloat16."""
        return COARSE_BFLOAT16_TOLERANCE if self.dtype == torch.bfloat16 else self.tolerance

    def tensors(self, name: str) -> Recording:
        """Return the recorded tensors of a file."""
        return Recording(self.directory / name, self.device)

    def json(self, name: str) -> Any:
        """Return the content of a JSON file.

        Raises:
            InputError: it cannot be read.
        """
        path = self.directory / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{path.name}: expected JSON, got '{error}'") from error

    def transformer(self, folder: str, weights: str | None = None) -> Transformer:
        """Return the transformer of `folder` with its weights.safetensors, or with another file of weights."""
        config = _known_keys(TransformerConfig, self._config(folder), {})
        return self._network(weights or f"{folder}/weights.safetensors", "transformer", Transformer, config)

    def vae(self) -> WanVAE:
        """Return the VAE with the recorded weights."""
        return self._network("vae/weights.safetensors", "codec", WanVAE, wan_vae_config(self._config("vae")))

    def text_encoder(self, text_len: int) -> TextEncoder:
        """Return the text encoder, without a tokenizer, for captions of `text_len` tokens."""
        said = {**self._config("umt5"), "text_len": text_len}
        config = _known_keys(TextEncoderConfig, said, TEXT_ENCODER_KEYS)
        return self._network("umt5/weights.safetensors", "text_encoder", TextEncoder, config)

    def compare(
        self, name: str, got: Tensor, expected: Tensor, *, tolerance: float | None = None, scale: float | None = None
    ) -> CaseResult:
        """Compare `got` with `expected`, up to `tolerance` (None: that of device and dtype) times its largest value.

        `scale` stands in for that largest value.
        """
        tolerance = self.tolerance if tolerance is None else tolerance
        if got.shape != expected.shape:
            note = f"shape {list(got.shape)}, expected {list(expected.shape)}"
            return CaseResult(name, None, tolerance, passed=False, note=note)
        error = relative_error(got, expected, scale)
        return CaseResult(name, error, tolerance, passed=error <= tolerance)

    def compare_frames(self, name: str, got: Tensor, expected: Tensor) -> CaseResult:
        """Compare uint8 frames with the recorded ones, up to one level (more where the tolerance is more)."""
        return self.compare(
            name, got, expected, tolerance=max(1 / PIXEL_LEVELS, self.coarse_tolerance), scale=PIXEL_LEVELS
        )

    def _config(self, folder: str) -> dict[str, Any]:
        return read_json(self.directory / folder / "config.json")

    def _network(self, weights: str, component: Component, kind: type[N], config: Any) -> N:
        network = self._networks.get(weights)
        if network is None:
            with torch.inference_mode(mode=False):  # the losses want gradients of them
                with shapes_only():
                    network = kind(config)
                tensors = read_component(self.directory / weights, component).tensors
                load_into(network, tensors, weights, self.device, self.dtype)
            self._networks[weights] = network.eval()
        assert isinstance(network, kind)
        return network


def relative_error(got: Tensor, expected: Tensor, scale: float | None = None) -> float:
    """max|got - expected| over `scale` (None: max|expected|), in float64; NaN where either has one."""
    got, expected = (tensor.detach().cpu().double() for tensor in (got, expected))
    if not expected.numel():
        return 0.0
    difference = (got - expected).abs().max().item()
    size = expected.abs().max().item() if scale is None else scale
    return difference / size if difference and size else difference and float("inf")


def compare_exactly(name: str, got: Sequence[Any], expected: Sequence[Any]) -> CaseResult:
    """Compare two lists; the error is the share of entries that differ."""
    if len(got) != len(expected):
        return CaseResult(name, None, 0.0, passed=False, note=f"{len(got)} entries, expected {len(expected)}")
    differing = [(a, b) for a, b in zip(got, expected, strict=True) if a != b]
    note = f"got {differing[0][0]!r}, expected {differing[0][1]!r}" if differing else ""
    return CaseResult(name, len(differing) / max(1, len(expected)), 0.0, passed=not differing, note=note)


def failed(name: str, note: str) -> CaseResult:
    """Return a failed case for a comparison that could not be made."""
    return CaseResult(name, None, None, passed=False, note=note)


def _known_keys(cls: type[C], said: Mapping[str, Any], renamed: Mapping[str, str]) -> C:
    """Build a configuration from a recorded one, ignoring keys that do not concern it (dropout, model type)."""
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    data = {renamed.get(key, key): value for key, value in said.items()}
    return from_dict(cls, {key: value for key, value in data.items() if key in known}, "config.json")
