"""Publish a model on the hub: its model card, and the upload."""

from pathlib import Path

from shotstream.core.errors import InputError
from shotstream.core.spec import FPS
from shotstream.model.config import ModelConfig

LIBRARY, PIPELINE = "shotstream", "text-to-video"
_OWN_USE = """```python
import shotstream

model = shotstream.Model.from_pretrained("<this repository>")
story = model.story("What holds for every shot.")
for frames in story.shot("What happens in this shot."):  # uint8 [n, h, w, 3], one chunk at a time
    print(frames.shape)
story.save("story.mp4")
```"""
_POLICY_USE = """```bash
shotstream generate "What holds for every shot. | The first. | The second." --model "<this repository>" -o story.mp4
```"""
"""A command, because some policies take whole scripts alone."""


def model_card(config: ModelConfig, parameters: int, licence: str | None = None) -> str:
    """Return the README.md of a model's repository, in the hub's form.

    Args:
        config: of the model.
        parameters: of all its networks together.
        licence: identifier of the hub, such as "apache-2.0"; None leaves it open.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=licence, library_name=LIBRARY, pipeline_tag=PIPELINE, tags=["video", "multi-shot", "streaming"]
    )
    size, transformer, sampler = config.video, config.transformer, config.sampler
    later = f", {sampler.count - sampler.later_start} after a shot's first" if sampler.later_start else ""
    kind = "causal, made chunk by chunk" if sampler.order == "chunks" else "bidirectional, a shot made whole"
    return f"""---
{data.to_yaml().strip()}
---

# {config.name}

{_summary(config.policy)}

| | |
|---|---|
| video | {size.width}x{size.height}, {FPS} frames a second, up to {config.shot.max_frames} frames a shot |
| transformer | {transformer.num_layers} layers of width {transformer.dim}, {kind} |
| sampler | {sampler.count} steps a chunk{later}, guidance {sampler.guidance:g} |
| parameters | {parameters:,} |

{_OWN_USE if config.policy is None else _POLICY_USE}
"""


def _summary(policy: str | None) -> str:
    """Return what a model that was trained for a policy does; None: ShotStream's own."""
    if policy is None:
        return (
            "A multi-shot video model for [ShotStream](https://arxiv.org/abs/2603.25746): it makes the next shot of a "
            "story from\ncaptions and from frames of the shots before it."
        )
    return (
        f"A multi-shot video model for the package shotstream, trained for the policy `{policy}`, which\n"
        "`shotstream policies` describes. It is run with this policy unless another is asked for."
    )


def upload_directory(directory: Path, repository: str, *, private: bool = False) -> str:
    """Upload a directory of weights to a model repository on the hub, which is made if needed; return its address.

    Raises:
        InputError: nobody is logged in, the name is none, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

    api = HfApi(library_name=LIBRARY)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=directory, commit_message="Upload a ShotStream model")
    except LocalTokenNotFoundError as error:
        raise InputError(f"cannot upload to '{repository}': nobody is logged in; run 'hf auth login'") from error
    except HFValidationError as error:
        raise InputError(f"expected a hub id org/name to upload to, got '{repository}'") from error
    except Exception as error:  # the errors of hub's http libraries have no base in common
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot upload to '{repository}': {reason}; check the name and your rights to it") from error
    return str(address)
