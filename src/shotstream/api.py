"""The Python interface: open a model, begin a story, save and publish a model."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch

from shotstream.core.errors import InputError
from shotstream.core.rng import Noise
from shotstream.core.spec import VideoSize
from shotstream.engine.policies import System, default_policy, default_sampler, find_system
from shotstream.engine.policy import PolicySpec
from shotstream.engine.story import Story
from shotstream.engine.warmup import make_warmup_shot
from shotstream.model.config import ModelConfig, SamplerConfig, as_sampler_kind
from shotstream.model.device import pick_device, pick_dtype
from shotstream.model.solvers import check_solver
from shotstream.runtime.compile import stop_compiling
from shotstream.runtime.options import RunOptions, apply_options, make_graph_pool
from shotstream.story.caption_fit import CaptionReport, UnknownWord, warn_or_refuse
from shotstream.story.script import Script
from shotstream.story.shot_spec import check_text
from shotstream.weights.build import ModelComponents
from shotstream.weights.directory import write_directory
from shotstream.weights.hub import open_components
from shotstream.weights.publish import upload_directory
from shotstream.weights.wan_layouts import ReadOptions
from shotstream.world.captions import nearest_word, unknown_words
from shotstream.world.words import WORLD_MODEL


def with_policy(components: ModelComponents, policy: str | None) -> ModelComponents:
    """Return a model whose stories are made by a policy, with its sampler; None: by the one that it was made for.

    Raises:
        InputError: there is no such policy, or it cannot run the model.
    """
    if policy is None:
        return components
    spec = find_system(policy).spec
    spec.check_model(components.config)
    config = replace(components.config, sampler=default_sampler(spec, components.config))
    return replace(components, config=config, policy=policy)


class Model:
    """A model that is ready to make stories. `shotstream.open` is `Model.from_pretrained`."""

    def __init__(self, parts: ModelComponents, running: RunOptions = RunOptions()) -> None:  # noqa: B008 (frozen)
        """Prepare networks to run as `running` asks.

        Raises:
            InputError: an option is not available here.
        """
        self.parts, self._running = apply_options(parts, running), running
        self.graphs = make_graph_pool(self.parts, running)

    @classmethod
    def from_pretrained(
        cls,
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
        policy: str | None = None,
        sampler: str | None = None,
    ) -> Self:
        """Open a model by name, directory or hub id. Whatever had to be assumed is logged as a warning.

        Args:
            source: "storyworld" (embedded), a directory of weights, or a hub id.
            device: auto, cpu, cuda, cuda:N or mps.
            dtype: auto, float32 or bfloat16; auto is bfloat16 where the device is fast in it.
            text_device: where the text encoder stays. It holds most of a full-size model's weights and works once a
                caption; None: on `device`.
            compiled: compiles the transformer in its first shot, and keeps the result on disk (`runtime.compile`).
            graphs: records a chunk's forwards as CUDA graphs in the first shot (`runtime.cuda_graphs`).
            fp8: computes linear maps in 8-bit floats; lossy (`runtime.fp8`).
            fp8_attention: computes self-attention in 8-bit floats; lossy, and needs FlashAttention 3.
            steps: fewer steps a chunk than the model was made for; lossy. None: its own.
            decoder: the file or the hub id of a tiny VAE that decodes in place of Wan's: faster, and lossy
                (`model.tiny_vae`); None: the model's own.
            lora: a LoRA to merge into published weights, its file or directory.
            lora_alpha: its alpha, in place of that in its files.
            role: student, teacher or base: how published weights are sampled; None: assumed (`weights.role`).
            checkpoint_key: container of published weights in a torch checkpoint, such as `generator_ema`; None: the
                first known one.
            policy: the system that makes stories (`shotstream policies` lists them); None: the one that the model was
                made for.
            sampler: few_step, euler, or unipc, dpm++ or ddim of the optional package diffusers; None: the model's own
                (`model.config.SamplerConfig`).

        Raises:
            InputError: there is no such model or device, the weights cannot be used, or an option is not
                available here.
        """
        if policy is not None:
            find_system(policy)  # before any weights are read
        if sampler is not None:
            check_solver(as_sampler_kind(sampler))
        where = pick_device(device)
        texts = where if text_device is None else pick_device(text_device)
        options = ReadOptions(None if lora is None else Path(lora), lora_alpha, role, checkpoint_key)
        parts = open_components(
            source, where, pick_dtype(where, dtype), options=options, text_device=texts, decoder=decoder
        )
        parts = with_policy(parts, policy)
        return cls(parts, RunOptions(compiled, graphs, fp8, fp8_attention, steps, sampler=sampler))

    @property
    def config(self) -> ModelConfig:
        """Return the model's configuration: its size, networks and sampler."""
        return self.parts.config

    @property
    def _system(self) -> System:
        return find_system(self.parts.policy or default_policy(self.parts.config))

    @property
    def policy(self) -> PolicySpec:
        """Return what the policy of the model's stories can do."""
        return self._system.spec

    @property
    def guidance(self) -> float | None:
        """Return the scale of guidance of stories that name none; None: the model takes none."""
        scale = self.config.sampler.guidance
        return None if scale == 1 else scale

    def check_guidance(self, guidance: float | None, negative_prompt: str) -> None:
        """Check that a story can have this scale of guidance (None: its own) and this negative prompt (empty: none).

        Raises:
            InputError: the model takes none, or the scale is out of range.
        """
        self.config.sampler.with_guidance(guidance, negative_prompt)

    @property
    def lossy(self) -> tuple[str, ...]:
        """Return why results differ from the full model's, in words for people; empty unless asked for."""
        return self.parts.lossy

    def story(
        self,
        global_caption: str,
        *,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        directory: str | Path | None = None,
        size: VideoSize | tuple[int, int] | None = None,
        sampler: SamplerConfig | None = None,
        context: str | None = None,
        noise: Noise | None = None,
        script: Script | None = None,
        strict: bool | None = False,
        guidance: float | None = None,
        negative_prompt: str = "",
    ) -> Story:
        """Begin a story, or go on with the one in `directory`.

        Args:
            global_caption: what holds for every shot.
            seed: of all noise; None: 0.
            generator: draws the seed; give either. A story keeps its seed, so it can be resumed.
            directory, size, sampler, context, noise, script, strict, guidance, negative_prompt: as in `Story`.

        Raises:
            InputError: both seed and generator are given, or an argument cannot be used (`Story`).
        """
        if generator is not None:
            if seed is not None:
                raise InputError("expected a seed or a generator, got both; leave one of them out")
            seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        check_text(negative_prompt, "the negative prompt", may_be_empty=True)
        warn_or_refuse(self.check_negative_prompt(negative_prompt), "Negative prompt: ", strict=strict)
        return Story(
            self.parts,
            global_caption,
            seed=0 if seed is None else seed,
            directory=directory,
            size=size,
            sampler=sampler,
            context=context,
            noise=noise,
            script=script,
            strict=strict,
            check=self.check_caption,
            guidance=guidance,
            negative_prompt=negative_prompt,
            graphs=self.graphs,
        )

    def warm_up(self) -> None:
        """Make a short shot and forget it, so that the first real shot is as fast as later ones.

        A compiled model compiles nothing after this, so no live story waits for a compiler. With graphs, the shot has
        full length, so that the first story finds all graphs recorded.
        """
        make_warmup_shot(self.parts, None if self._running.graphs else 1, self.graphs)
        if self._running.compiled:
            stop_compiling()

    def check_script(self, script: Script) -> None:
        """Check that the policy of the model's stories can make a script.

        Raises:
            InputError: it has too few or too many shots, is too long, or has steers or a cast that it cannot have.
        """
        self._system.check_script(script, self.config.shot, self.parts.text_encoder)

    def check_caption(self, global_caption: str, text: str, shot: int = 0) -> CaptionReport:
        """Report which of a shot's caption the model will not follow: text beyond what it reads, and unknown words.

        Unknown words are named only of a model that learnt StoryWorld.

        Args:
            global_caption: the story's.
            text: the shot's own caption, a steer's, or that of a cast member.
            shot: number of the shot, from 0.
        """
        fitted = self._system.fit(self.parts.text_encoder.lost, global_caption, shot, text)
        return CaptionReport(fitted.lost_global, fitted.lost_text, self._unknown_words(f"{global_caption} {text}"))

    def check_negative_prompt(self, text: str) -> CaptionReport:
        """Report which of a negative prompt the model will not follow, as `check_caption` does of captions."""
        return CaptionReport("", self.parts.text_encoder.lost(text), self._unknown_words(text))

    def _unknown_words(self, text: str) -> tuple[UnknownWord, ...]:
        strange = unknown_words(text) if self.config.name == WORLD_MODEL else ()
        return tuple(UnknownWord(word, nearest_word(word)) for word in strange)

    def save_pretrained(self, directory: str | Path, *, dtype: str | None = None, licence: str | None = None) -> None:
        """Write the model as a directory that `from_pretrained` opens, with a model card.

        Args:
            directory: must be empty, or not there.
            dtype: float32 or bfloat16; None: as the weights are.
            licence: for the card, an identifier of the hub such as "apache-2.0".

        Raises:
            InputError: something is there already, the dtype is none, the model was opened with 8-bit floats, fewer
                steps, another sampler or a policy, or the file system refuses.
        """
        run = self._running
        changed = (run.steps, run.sampler, self.parts.policy)
        if run.fp8 or run.fp8_attention or any(option is not None for option in changed):
            raise InputError(
                "cannot save a model opened with fp8, fp8_attention, steps, sampler or policy; open it without them"
            )
        write_directory(
            self.parts, Path(directory), None if dtype is None else pick_dtype(torch.device("cpu"), dtype), licence
        )

    def push_to_hub(
        self, repository: str, *, private: bool = False, dtype: str | None = None, licence: str | None = None
    ) -> str:
        """Save the model and upload it to the hub, with a model card; return the repository's address.

        Args:
            repository: a hub id org/name; it is made if needed.
            private: whether a new repository is hidden from others.
            dtype: as in `save_pretrained`.
            licence: as in `save_pretrained`.

        Raises:
            InputError: the model cannot be saved, nobody is logged in, or the hub refuses.
        """
        with TemporaryDirectory() as place:
            directory = Path(place) / "model"
            self.save_pretrained(directory, dtype=dtype, licence=licence)
            return upload_directory(directory, repository, private=private)


open_model = Model.from_pretrained
