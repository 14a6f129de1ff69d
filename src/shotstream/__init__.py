"""ShotStream: live multi-shot video. A story in, a video out, directed while it plays.

>>> model = shotstream.open("storyworld")
>>> story = model.story("A red fox in a forest by day.", seed=7)
>>> for frames in story.shot("Wide shot: the fox walks left."):
...     show(frames)  # uint8 [n, h, w, 3], as each chunk is done
>>> story.save("fox.mp4")
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["InputError", "Model", "Story", "open"]

if TYPE_CHECKING:
    from shotstream.api import Model
    from shotstream.api import open_model as open
    from shotstream.core.errors import InputError
    from shotstream.engine.story import Story

_HOMES = {
    "open": ("shotstream.api", "open_model"),
    "Model": ("shotstream.api", "Model"),
    "Story": ("shotstream.engine.story", "Story"),
    "InputError": ("shotstream.core.errors", "InputError"),
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: `import shotstream` alone does nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shotstream' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
