"""Load the networks that the metrics need, from files that are already on this machine.

Nothing is downloaded here. A network that is not there raises `NotAvailableError` with the command that fetches it, so
that an evaluation never waits for a hub and a report never mixes versions silently.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.video import Frames
from shotstream.metrics.availability import NotAvailableError
from shotstream.metrics.judge import Judge

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
BATCH = 32
MAX_BACKBONE_SIDE = 224
"""DINOv2's own 518 pixels are for dense features; its class token is read at 224."""
UNUSED_WEIGHTS = ("pooler.",)
"""Weights that the published files of DINO lack, and that no metric reads."""
CLIP_TOKENS = 77
"""CLIP text models read no more; the rest of a caption is cut off."""


@dataclass(frozen=True)
class BackboneSpec:
    """A network of the hub: its default id, what it stands for, and how frames are prepared for it.

    `replaces` names the paper's own tool where this is another one, and why.
    """

    model_id: str
    purpose: str
    colours: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET
    replaces: str = ""


BACKBONES: Mapping[str, BackboneSpec] = MappingProxyType(
    {
        "dino": BackboneSpec("facebook/dino-vitb16", "intra-shot subject"),
        "clip": BackboneSpec("openai/clip-vit-base-patch32", "intra-shot background", colours=CLIP_COLOURS),
        "dinov2": BackboneSpec("facebook/dinov2-base", "inter-shot subject and background"),
        "video": BackboneSpec(
            "microsoft/xclip-base-patch32",
            "inter-shot semantic, text alignment",
            colours=IMAGENET,
            replaces="ViCLIP, which transformers does not contain (it runs code from the hub)",
        ),
        "detector": BackboneSpec(
            "PekingU/rtdetr_r50vd", "subject boxes", replaces="YOLO, whose AGPL licence users may not take"
        ),
        "sam": BackboneSpec("facebook/sam-vit-base", "subject masks"),
        "aesthetic": BackboneSpec(
            "shunk031/aesthetics-predictor-v1-vit-large-patch14", "aesthetic quality", colours=CLIP_COLOURS
        ),
    }
)
"""Every network of the hub, by the name that `--backbone NAME=ID` takes."""


def local_snapshot(model_id: str) -> Path | None:
    """Return the directory of a network: a local one, or the hub's cached snapshot; None if it is not here."""
    if Path(model_id).is_dir():
        return Path(model_id)
    try:
        return Path(snapshot_download(model_id, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _check_id(name: str, model_id: str) -> None:
    """Raise InputError where a network is neither a directory nor can be an id of the hub."""
    try:
        if not Path(model_id).is_dir():
            validate_repo_id(model_id)
    except HFValidationError as error:
        raise InputError(
            f"expected --backbone {name}=ID with a directory or a hub id, got '{model_id}'; check the path"
        ) from error


def _describe_network(model_id: str) -> str:
    """Return the directory of a local network, or the id of one of the hub with its revision."""
    snapshot = local_snapshot(model_id)
    return model_id if snapshot is None or snapshot == Path(model_id) else f"{model_id} at {snapshot.name}"


def _fetch(*model_ids: str) -> str:
    return "run: " + " && ".join(f"hf download {model_id}" for model_id in model_ids)


def transformers_class(name: str) -> Any:
    """Return a class of transformers, whose import takes seconds."""
    return getattr(import_module("transformers"), name)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide the progress of loading, and the lists of weights that a network leaves unused."""
    logs = import_module("transformers.utils.logging")
    level, showed_progress = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if showed_progress:
            logs.enable_progress_bar()


def prepare(frames: Frames, side: int, colours: tuple[Any, Any]) -> Float[Tensor, "n 3 s s"]:
    """Resize frames (bicubic, shorter side to `side`), crop the centre and normalise colours."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    height, width = pixels.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in colours)
    return (pixels[..., top : top + side, left : left + side] - mean) / std


class Backbones:
    """The networks of one evaluation, each loaded once on first use.

    `ids` replaces default model ids by others or by local directories; `judge` is a vision model that is asked over
    HTTP, if any.

    Raises:
        InputError: an id is neither a directory nor can be one of the hub's.
    """

    def __init__(
        self, device: torch.device, ids: Mapping[str, str] = MappingProxyType({}), judge: Judge | None = None
    ) -> None:
        self.device = device
        self.judge = judge
        self.ids = {name: ids.get(name, spec.model_id) for name, spec in BACKBONES.items()}
        for name, model_id in ids.items():
            _check_id(name, model_id)
        self._loaded: dict[str, Any] = {}

    def describe(self) -> dict[str, str]:
        """Return the id and revision of every network, and the version of every package, that was used so far."""
        networks = {name: _describe_network(self.ids[name]) for name in self._loaded if name in BACKBONES}
        packages = [name for name in self._loaded if name not in BACKBONES]
        packages += ["transformers"] if networks else []
        return networks | {name: metadata.version(name) for name in packages}

    def require(self, *names: str) -> None:
        """Check that the files of several networks are here, so that none is found missing halfway.

        Raises:
            NotAvailableError: some are not; the command in it fetches all of these.
        """
        missing = [self.ids[name] for name in names if name not in self._loaded and not local_snapshot(self.ids[name])]
        if missing:
            raise NotAvailableError(_fetch(*missing))

    def get(self, name: str, load: Callable[[str], Any]) -> Any:
        """Return a network of `BACKBONES`, loaded by `load(directory)` on first use.

        Raises:
            NotAvailableError: its files are not on this machine, or are something else.
        """
        if name not in self._loaded:
            directory = local_snapshot(self.ids[name])
            if directory is None:
                raise NotAvailableError(_fetch(self.ids[name]))
            try:
                self._loaded[name] = load(str(directory))
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                reason = str(error).strip().split("\n")[0]
                raise NotAvailableError(f"{name}: {self.ids[name]} cannot be loaded: {reason}") from error
        return self._loaded[name]

    def image_model(self, name: str, kind: str) -> Any:
        """Return a network of `BACKBONES` as a model of a class of transformers."""
        return self.get(name, lambda path: self.load_model(kind, path))

    def load_model(self, kind: str, path: str, **options: Any) -> Any:
        """Return a model of a class of transformers from a directory, in evaluation mode on the device.

        Raises:
            ValueError, RuntimeError: the files lack some of its weights, or these have other shapes.
        """
        kind_of_model = transformers_class(kind)
        with quiet_transformers():
            model, found = kind_of_model.from_pretrained(path, output_loading_info=True, **options)
        lacking = sorted(key for key in found["missing_keys"] if not key.startswith(UNUSED_WEIGHTS))
        if lacking:
            raise ValueError(f"its files lack {len(lacking)} weights of {kind}, such as {lacking[0]}")
        return model.eval().to(self.device)

    def note(self, package: str) -> None:
        """Record that a package without hub files was used."""
        self._loaded.setdefault(package, None)

    @torch.inference_mode()
    def class_tokens(self, name: str, pictures: Frames) -> Float[np.ndarray, "n d"]:
        """Return the class token of each picture, by "dino" or "dinov2"."""
        model = self.image_model(name, "AutoModel")
        return self._batched(name, model, pictures, lambda pixels: model(pixel_values=pixels).last_hidden_state[:, 0])

    @torch.inference_mode()
    def clip_embeddings(self, frames: Frames) -> Float[np.ndarray, "n d"]:
        """Return CLIP's image embedding of each frame."""

        def load(path: str) -> Any:
            config = transformers_class("AutoConfig").from_pretrained(path)
            vision = getattr(config, "vision_config", config)
            vision.projection_dim = config.projection_dim
            return self.load_model("CLIPVisionModelWithProjection", path, config=vision)

        model = self.get("clip", load)
        return self._batched("clip", model, frames, lambda pixels: model(pixel_values=pixels).image_embeds)

    @torch.inference_mode()
    def aesthetic_ratings(self, frames: Frames) -> Float[np.ndarray, "n"]:
        """Return LAION's aesthetic rating, about 0 to 10, of each frame."""
        from safetensors.torch import load_file

        def load(path: str) -> tuple[Any, dict[str, Tensor]]:
            model = self.load_model("CLIPVisionModelWithProjection", path)
            weights = load_file(Path(path) / "model.safetensors")
            return model, {key: weights[f"predictor.{key}"] for key in ("weight", "bias")}

        model, head = self.get("aesthetic", load)
        embeddings = self._batched("aesthetic", model, frames, lambda pixels: model(pixel_values=pixels).image_embeds)
        return F.linear(F.normalize(torch.from_numpy(embeddings), dim=-1), head["weight"], head["bias"])[:, 0].numpy()

    @torch.inference_mode()
    def video_and_text(self, frames: Frames, caption: str) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
        """Return the video-text model's embeddings of a shot (evenly spread frames) and of its caption."""

        def load(path: str) -> tuple[Any, Any]:
            return self.load_model("XCLIPModel", path), transformers_class("AutoTokenizer").from_pretrained(path)

        model, tokenizer = self.get("video", load)
        chosen = frames[np.linspace(0, len(frames) - 1, model.config.vision_config.num_frames).round().astype(int)]
        pixels = prepare(chosen, model.config.vision_config.image_size, BACKBONES["video"].colours)[None]
        tokens = tokenizer([caption], return_tensors="pt", truncation=True, max_length=CLIP_TOKENS).to(self.device)
        out = model(pixel_values=pixels.to(self.device), **tokens)
        return out.video_embeds[0].float().cpu().numpy(), out.text_embeds.reshape(-1).float().cpu().numpy()

    def _batched(
        self, name: str, model: Any, frames: Frames, run: Callable[[Tensor], Tensor]
    ) -> Float[np.ndarray, "n d"]:
        side = getattr(getattr(model.config, "vision_config", model.config), "image_size", 224)
        side = min(int(side), MAX_BACKBONE_SIDE)
        batches = (frames[start : start + BATCH] for start in range(0, len(frames), BATCH))
        return torch.cat(
            [run(prepare(batch, side, BACKBONES[name].colours).to(self.device)).float().cpu() for batch in batches]
        ).numpy()
