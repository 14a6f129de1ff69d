"""Compose the caption that a shot's latents attend to.

Source: ShotStream's prompts (reference: golden/pipeline/script.json). Cleaning and cutting are the text encoder's.
"""


def compose_caption(global_caption: str, shot_index: int, text: str) -> str:
    """Return the caption of shot `shot_index` (from 0): the story's, 'shot{k}:' and the shot's own, nothing in between.

    The published model was trained on exactly this string, so no space is added; end the global caption with one to
    have one.
    """
    return f"{global_caption}shot{shot_index}:{text}"


def join_captions(global_caption: str, text: str) -> str:
    """Return a prompt that stands alone: the story's caption, a space, and the shot's own."""
    return f"{global_caption.strip()} {text.strip()}".strip()
