"""The transformer's blocks compiled, for inference and training; what is compiled is kept on disk for the next start.

Compiled are the pieces of a block around its attentions (`model.transformer.Block.PIECES`). Their shapes are those of
a chunk and of the context: the seven windows of a shot, its captions and all layers share them.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch

from shotstream.core.errors import InputError
from shotstream.model.blocks import Block
from shotstream.model.transformer import Transformer

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Where inductor looks. Other libraries set it to a temporary directory as soon as they are imported."""
COMPILERS = ("g++", "clang++", "cl")


def cache_directory() -> Path:
    """Return the directory of compiled code: in the user's cache, which `XDG_CACHE_HOME` may name."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shotstream" / "compiled"


def compile_blocks(transformer: Transformer, *, dynamic: bool = False) -> None:
    """Compile the blocks of a transformer, in place, when they are first run with tensors of a new shape.

    `dynamic`: once for all sizes of a batch and lengths of a sequence, of which training has many.

    Raises:
        InputError: torch cannot compile here.
    """
    _check_tools(transformer.patch_embedding.weight.device)
    os.environ[CACHE_VARIABLE] = str(cache_directory())
    for block in transformer.blocks:
        for piece in Block.PIECES:
            setattr(block, piece, torch.compile(getattr(cast(Block, block), piece), dynamic=dynamic))


def stop_compiling() -> None:
    """Stop compiling: new shapes run uncompiled from now on, so that a live story never waits for the compiler."""
    torch.compiler.set_stance("eager_on_recompile")


def _check_tools(device: torch.device) -> None:
    compilers = (os.environ["CXX"],) if "CXX" in os.environ else COMPILERS
    if not any(map(shutil.which, compilers)):
        raise InputError(f"expected a C++ compiler to compile with, found none of {', '.join(compilers)}; install one")
    if device.type == "cuda" and find_spec("triton") is None:
        raise InputError("expected the package triton to compile for CUDA with, found none; install it")
