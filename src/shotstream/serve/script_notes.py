"""Say which settings of a script do not hold where its shots are added to a story that has begun."""

from shotstream.api import Model
from shotstream.serve.messages import Note
from shotstream.serve.store import StoryRow
from shotstream.story.script import Script, ScriptExport


def unused_settings(model: Model, script: Script, row: StoryRow | None) -> list[Note]:
    """Return a note on each setting of a script that is not used.

    Args:
        model: that makes the story.
        script: as it was read.
        row: the story that its shots are added to; None: a new one, which takes all but the export and the pictures of
            the cast.
    """
    lines = [] if row is None else _differences(model, script, row)
    if script.export != ScriptExport():
        lines.append("The script's export is not used here. Choose it again when you export the story.")
    if script.cast:
        lines.append("The pictures of the script's cast are not read. Add them to the cast of the story.")
    return [Note(code="not_used", message=line) for line in lines]


def _differences(model: Model, script: Script, row: StoryRow) -> list[str]:
    """Return a line on each setting that differs from the story's."""
    own = row.guidance or model.guidance or 1.0
    settings = (
        ("global caption", script.global_caption.strip() or None, row.global_caption.strip()),
        ("seed", script.seed, row.seed),
        ("guidance", script.guidance, own),
        ("negative prompt", script.negative_prompt or None, row.negative_prompt),
    )
    return [
        f"The script's {name} is not used: this story has {_quoted(kept)}, which holds from its first shot on. Begin a "
        "new story for the script's."
        for name, said, kept in settings
        if said is not None and said != kept
    ]


def _quoted(value: str | float) -> str:
    if isinstance(value, str):
        return f'"{value}"' if value else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
