"""Open models by name: embedded ones, directories of ours, published files, hub repositories."""

import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import torch

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, ShotShape
from shotstream.model.tiny_vae import TINY_VAE_PREFIX
from shotstream.weights.build import ModelComponents, ModelStates, build
from shotstream.weights.directory import CONFIG_FILE, WEIGHT_FILES, is_ours, read_config, read_directory
from shotstream.weights.lora import ADAPTER_CONFIG, ADAPTER_FILE
from shotstream.weights.tiny_vae import PUBLISHED_FILES, read_tiny_decoder
from shotstream.weights.wan_layouts import (
    CHECKPOINT_SUFFIXES,
    CODEC_FILES,
    HIGH_NOISE,
    LOW_NOISE,
    TEXT_FILES,
    TOKENIZER_FILES,
    TRANSFORMER_FILES,
    ReadOptions,
    has_base,
    read_published,
)

_log = logging.getLogger(__name__)
EMBEDDED = Path(__file__).parent / "embedded"
WAN_BASE = "Wan-AI/Wan2.1-T2V-1.3B"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
DIRECTORIES = ("transformer", f"{HIGH_NOISE}_model", f"{LOW_NOISE}_model", "vae")
BASE_PATTERNS = [*CODEC_FILES, *TEXT_FILES, *TOKENIZER_FILES, "text_encoder/model-*.safetensors", CONFIG_FILE]
"""Files of Wan2.1 without its transformer, which a ShotStream checkpoint replaces."""
DOWNLOADED = [
    *BASE_PATTERNS,
    *TRANSFORMER_FILES,
    *(name.replace(HIGH_NOISE, LOW_NOISE) for name in TRANSFORMER_FILES),
    *(f"{directory}diffusion_pytorch_model-*.safetensors" for directory in ("", *(f"{name}/" for name in DIRECTORIES))),
    *(f"{directory}/{CONFIG_FILE}" for directory in DIRECTORIES),
    *WEIGHT_FILES.values(),
    ADAPTER_FILE,
    ADAPTER_CONFIG,
    *(f"*{suffix}" for suffix in CHECKPOINT_SUFFIXES),
]
"""Files of a hub repository that are downloaded: all that one of the layouts reads."""


def available() -> tuple[str, ...]:
    """List the names of the models that ship with the package."""
    return tuple(sorted(path.parent.name for path in EMBEDDED.glob(f"*/{CONFIG_FILE}")))


def open_components(
    source: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    options: ReadOptions = ReadOptions(),  # noqa: B008 (frozen)
    text_device: torch.device | str | None = None,
    decoder: str | Path | None = None,
) -> ModelComponents:
    """Open a model, ready to run. What had to be assumed on the way is logged as a warning.

    Args:
        source: the name of an embedded model, a directory of ours, a directory of published files, a file of a
            transformer with Wan2.1 near it, or a hub repository `org/name`, which is downloaded (once; an interrupted
            download goes on where it stopped; `HF_HOME` sets where to).
        device: of transformer and codec.
        dtype: of floating tensors; None leaves each as it is stored.
        options: what the user says about published files.
        text_device: where the text encoder runs; None: on `device`.
        decoder: a tiny decoder in place of that of Wan's VAE, lossy (`model.tiny_vae`): its file, or a hub
            repository that holds it.

    Raises:
        InputError: the source is unknown or cannot be reached, or a file in it is missing or cannot be used.
    """
    states = read_states(source, options)
    if decoder is not None:
        states = _with_tiny_decoder(states, find_decoder(decoder))
    components = build(states, device, dtype, text_device=text_device)
    for note in states.notes:
        _log.warning(note)
    return components


def read_states(source: str | Path, options: ReadOptions = ReadOptions()) -> ModelStates:  # noqa: B008 (frozen)
    """Read the tensors of a model without making networks of them; arguments as `open_components` takes them."""
    path, downloaded = find(source)
    if path.is_dir() and is_ours(path):
        if options != ReadOptions():
            raise InputError(
                f"{path}: expected published files for a LoRA, a role or a checkpoint key, got a converted model; "
                "convert its source again with them"
            )
        return read_directory(path)
    base = _snapshot(WAN_BASE, BASE_PATTERNS) if downloaded and not has_base(path) else None
    return read_published(path, base, options)


def find(source: str | Path) -> tuple[Path, bool]:
    """Find a model on this machine, downloading it if needed.

    Returns:
        Its path, and whether that is in the hub's cache.

    Raises:
        InputError: there is no such model, or it cannot be downloaded.
    """
    name = str(source)
    if name in available():
        return EMBEDDED / name, False
    path = Path(os.path.expanduser(source))
    if os.path.exists(path):  # a path's own method raises where the name is too long to be one
        return path, False
    if isinstance(source, Path) or not _REPOSITORY.fullmatch(name):
        known = ", ".join(available()) or "none"
        hint = nearest(name, available()) or f"; known names: {known}"
        raise InputError(f"unknown model '{name}'{hint}; expected such a name, a directory, or a hub id org/name")
    return _snapshot(name, DOWNLOADED), True


def read_shot_shape(source: str | Path) -> ShotShape:
    """Return the shape of a model's shots from its configuration alone; of models without ours, the paper's.

    Nothing is downloaded, and a model that is not there is of the paper's shape: opening it says so.

    Raises:
        InputError: its configuration cannot be used.
    """
    path = EMBEDDED / source if str(source) in available() else Path(os.path.expanduser(source))
    return read_config(path).shot if os.path.isdir(path) and is_ours(path) else PAPER_SHOT


def find_decoder(source: str | Path) -> Path:
    """Find the file of a tiny decoder: itself, or that in a directory or hub repository, which is downloaded.

    Raises:
        InputError: there is no such file, or it cannot be downloaded.
    """
    path = Path(os.path.expanduser(source))
    if not os.path.exists(path):
        if isinstance(source, Path) or not _REPOSITORY.fullmatch(source) or path.suffix in (".pth", ".safetensors"):
            raise InputError(f"unknown decoder '{source}': expected the file of a tiny VAE, or a hub id org/name")
        path = _snapshot(source, list(PUBLISHED_FILES))
    if not path.is_dir():
        return path
    found = next((path / name for name in PUBLISHED_FILES if (path / name).is_file()), None)
    if found is None:
        raise InputError(
            f"'{source}': expected {' or '.join(PUBLISHED_FILES)} in it, found neither; name the file itself"
        )
    return found


def _with_tiny_decoder(states: ModelStates, path: Path) -> ModelStates:
    config, tensors = read_tiny_decoder(path)
    exact = {name: value for name, value in states.codec.items() if not name.startswith(TINY_VAE_PREFIX)}
    return replace(
        states,
        config=replace(states.config, tiny_decoder=config),
        codec={**exact, **{f"{TINY_VAE_PREFIX}{name}": value for name, value in tensors.items()}},
        files=(*states.files, path),
        source=f"{states.source}, decoder {path}",
    )


def _snapshot(repository: str, patterns: list[str]) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except GatedRepoError as error:
        raise InputError(
            f"'{repository}' asks for consent; accept its terms on the hub, then run 'hf auth login'"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"unknown model '{repository}': no such directory here, and none on the hub; check its spelling"
        ) from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"no network, and '{repository}' is not in {constants.HF_HUB_CACHE}; run 'hf download {repository}' where "
            "there is one, then set HF_HOME to that cache or pass the directory"
        ) from error
    except Exception as error:  # the errors of hub's http libraries have no base in common
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the download of '{repository}' broke off ({reason}); run it again to go on") from error
