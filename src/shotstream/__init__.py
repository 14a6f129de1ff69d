"""ShotStream: live, multi-shot video generation. Give it a story, one caption a shot; it yields video chunk by chunk.

>>> import shotstream
>>> model = shotstream.open("storyworld")
>>> story = model.story("A red fox in a forest by day.", seed=7)
>>> for frames in story.shot("Wide shot: the fox walks left."):
...     print(frames.shape)  # uint8 [n, h, w, 3], as each chunk is done
>>> story.save("fox.mp4")
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ChunkInfo", "InputError", "Model", "Shot", "StepInfo", "Story", "open"]

if TYPE_CHECKING:
    from shotstream.api import Model
    from shotstream.api import open_model as open
    from shotstream.core.errors import InputError
    from shotstream.engine.callbacks import ChunkInfo, StepInfo
    from shotstream.engine.shot import Shot
    from shotstream.engine.story import Story

_HOMES = {
    "open": ("shotstream.api", "open_model"),
    "Model": ("shotstream.api", "Model"),
    "Story": ("shotstream.engine.story", "Story"),
    "Shot": ("shotstream.engine.shot", "Shot"),
    "StepInfo": ("shotstream.engine.callbacks", "StepInfo"),
    "ChunkInfo": ("shotstream.engine.callbacks", "ChunkInfo"),
    "InputError": ("shotstream.core.errors", "InputError"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import shotstream` alone is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shotstream' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted((*globals(), *_HOMES))
