"""The Python face: open a model, begin a story, iterate over its shots."""

from collections.abc import Sequence
from pathlib import Path

from shotstream.core.rng import Noise
from shotstream.core.spec import MAX_CHUNKS, VideoSize
from shotstream.engine.story import Story
from shotstream.engine.warmup import make_warmup_shot
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.model.device import pick_device, pick_dtype
from shotstream.model.text_encoder import TruncationReport
from shotstream.runtime.compile import stop_compiling
from shotstream.runtime.options import RunOptions, apply_options
from shotstream.weights.build import ModelComponents
from shotstream.weights.hub import open_components
from shotstream.weights.wan_layouts import ReadOptions


class Model:
    """A model ready to tell stories."""

    def __init__(self, parts: ModelComponents, running: RunOptions = RunOptions()) -> None:  # noqa: B008 (frozen)
        """Makes the parts ready to run as they are asked to.

        Raises:
            InputError: something that is asked for cannot be had here.
        """
        self.parts, self._running = apply_options(parts, running), running

    @property
    def config(self) -> ModelConfig:
        """What the model says about itself."""
        return self.parts.config

    @property
    def lossy(self) -> tuple[str, ...]:
        """What makes its results others than those of the full model, in words for people; empty unless asked for."""
        return self.parts.lossy

    def story(
        self,
        global_caption: str,
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        size: VideoSize | tuple[int, int] | None = None,
        sampler: SamplerConfig | None = None,
        context: str | None = None,
        noise: Noise | None = None,
    ) -> Story:
        """Begins a story, or goes on with the one in `directory`; the arguments are those of `Story`."""
        return Story(
            self.parts,
            global_caption,
            seed=seed,
            directory=directory,
            size=size,
            sampler=sampler,
            context=context,
            noise=noise,
        )

    def warm_up(self) -> None:
        """Makes a shot of one chunk and forgets it, so that the first one that counts is as fast as those after it.

        What a compiled model has not compiled by then is run as it is, so that no live story waits for a compiler. With
        graphs the shot has all windows, so that the first story finds them recorded.
        """
        make_warmup_shot(self.parts, MAX_CHUNKS if self._running.graphs else 1)
        if self._running.compiled:
            stop_compiling()

    def truncation(self, captions: Sequence[str]) -> list[TruncationReport]:
        """What of each caption the text encoder reads, and what is lost."""
        return self.parts.text_encoder.truncation(captions)


def open_model(
    source: str | Path = "storyworld",
    *,
    device: str = "auto",
    dtype: str = "auto",
    text_device: str | None = None,
    compiled: bool = False,
    graphs: bool = False,
    fp8: bool = False,
    fp8_attention: bool = False,
    steps: int | None = None,
    decoder: str | Path | None = None,
    lora: str | Path | None = None,
    lora_alpha: float | None = None,
    role: str | None = None,
    checkpoint_key: str | None = None,
) -> Model:
    """Open a model by name, directory or hub id (`weights.hub`). What had to be assumed is logged as a warning.

    Args:
        source: "storyworld" (embedded), a directory of weights, or a hub id.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, float32 or bfloat16; auto is bfloat16 where the device is fast in it.
        text_device: where the text encoder stays, which is most of a full-size model's weights and works once a
            caption; None: on `device`.
        compiled: compiles the transformer in its first shot, and keeps what is compiled on disk (`runtime.compile`).
        graphs: records a chunk's forwards as CUDA graphs in the first shot (`model.cuda_graphs`).
        fp8: makes linear maps of 8-bit floats, which is lossy (`runtime.fp8`).
        fp8_attention: makes self-attention of 8-bit floats, which is lossy too; it needs FlashAttention 3.
        steps: fewer steps a chunk than the model was made for, which is lossy; None: its own.
        decoder: the file or the hub id of a tiny VAE that decodes in the place of Wan's: faster, and lossy
            (`model.tiny_vae`); None: the model's own.
        lora: a LoRA to merge into published weights, its file or directory.
        lora_alpha: its alpha, which outweighs what its files say.
        role: student, teacher or base: how published weights are sampled; None: assumed (`weights.role`).
        checkpoint_key: container of published weights in a torch checkpoint, such as `generator_ema`; None: the first
            known one.

    Raises:
        InputError: there is no such model or device, the weights cannot be used, or something
                that is asked for cannot be had here.
    """
    where = pick_device(device)
    texts = where if text_device is None else pick_device(text_device)
    options = ReadOptions(None if lora is None else Path(lora), lora_alpha, role, checkpoint_key)
    parts = open_components(
        source, where, pick_dtype(where, dtype), options=options, text_device=texts, decoder=decoder
    )
    return Model(parts, RunOptions(compiled, graphs, fp8, fp8_attention, steps))
