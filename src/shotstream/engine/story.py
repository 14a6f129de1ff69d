"""A story that is generated shot by shot on request: frames come as soon as their chunk is decoded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.images import Picture, as_frame
from shotstream.core.profiling import Clock, no_profiler
from shotstream.core.rng import Noise, SeededNoise
from shotstream.core.spec import FPS, VideoSize, as_video_size
from shotstream.core.video import VideoWriter
from shotstream.engine.callbacks import OnChunk, OnStep, StepInfo
from shotstream.engine.maker import StorySetup
from shotstream.engine.memory_estimate import ShotMemory, check_memory
from shotstream.engine.policies import default_policy, find_system
from shotstream.engine.sampler import Sampler
from shotstream.engine.shot import Shot
from shotstream.engine.text_cache import TextCache
from shotstream.model.config import SamplerConfig
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.story.caption_fit import CaptionCheck, CaptionReport, CheckCaption
from shotstream.story.cast import CAST_SHOT, CastMember, check_member, choose_members
from shotstream.story.history import History
from shotstream.story.record import StoryIdentity
from shotstream.story.relevance import check_selector
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec, check_seed, check_text
from shotstream.story.take_tree import Branch
from shotstream.weights.build import ModelComponents


class Story:
    """One story being made with a model. Shots are asked for one by one; frames of earlier ones are their context.

    A story is a tree: it can go back to before any shot and make another take of it, and stand on any branch again.
    A context manager: leaving it closes the story, and cuts a shot that is being made, or forgets it on an error.
    """

    def __init__(
        self,
        parts: ModelComponents,
        global_caption: str,
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        size: VideoSize | tuple[int, int] | None = None,
        sampler: SamplerConfig | None = None,
        context: str | None = None,
        noise: Noise | None = None,
        script: Script | None = None,
        strict: bool | None = False,
        check: CheckCaption | None = None,
        guidance: float | None = None,
        negative_prompt: str = "",
        clock: Clock = no_profiler,
        graphs: CudaGraphPool | None = None,
    ) -> None:
        """Begin a story, or go on with the one in `directory`.

        Args:
            parts: the model.
            global_caption: what holds for every shot; it may be empty.
            seed: of all noise.
            directory: where finished shots are kept; None: a temporary directory.
            size: of the video, (width, height) in pixels; None: the model's own.
            sampler: how chunks are denoised; None: as the model's configuration says.
            context: which past frames become context (`story.selectors`, `story.relevance`); None: as the model's
                configuration says.
            noise: where noise comes from instead of `seed`.
            script: all shots of the story, which policies need that make them together; others check it.
            strict: refuses captions that the model will not follow wholly; False: warns of them; None: neither.
            check: says what the model will not follow of a caption; None: looks at its length alone.
            guidance: scale of classifier-free guidance, 1 (none) to 30; None: the sampler's.
            negative_prompt: text that guidance leads away from; empty: none.
            clock: told what the time is spent on.
            graphs: lends the story recorded forwards; None: nothing is recorded.

        Raises:
            InputError: an argument cannot be used, the model takes no guidance, or the directory has another story.
        """
        policy = parts.policy or default_policy(parts.config, sampler)
        self._system = find_system(policy)
        check_text(negative_prompt, "the negative prompt", may_be_empty=True)
        sampler = (sampler or parts.config.sampler).with_guidance(guidance, negative_prompt)
        self._system.spec.check_sampler(sampler.kind)
        context = check_selector(context or parts.config.context)
        self._system.spec.check_model(parts.config)
        if script is not None:
            self._system.check_script(script, parts.config.shot, parts.text_encoder)
        self._parts, self._seed, self._clock = parts, check_seed(seed), clock
        self._global = check_text(global_caption, "the global caption", may_be_empty=True)
        self._check_caption = CaptionCheck(check or self._report_length, global_caption, strict=strict)
        self._size = as_video_size(size or parts.config.video)
        self._sampler = Sampler.from_config(sampler)
        self._reader = TextCache(parts.text_encoder, parts.transformer.patch_embedding.weight.device)
        self._noise = noise or SeededNoise(seed)
        self._script, self._whole = script, sampler.order == "whole"
        if script is not None and self._system.spec.one_prompt:
            self._check_caption(" ".join(shot.text for shot in script.shots), 0)
        self._check_memory(1)
        identity = StoryIdentity(
            self._global,
            seed,
            self._size.height,
            self._size.width,
            to_dict(sampler),
            parts.fingerprint,
            context,
            policy,
            negative_prompt,
        )
        self.history = History.open_or_create(identity, directory)
        setup = StorySetup(
            parts, self.history, self._size, self._sampler, self._read, clock, self._noise, script, graphs
        )
        self._maker = self._system.begin(setup)
        self._current: Shot | None = None
        self._closed = False

    def shot(
        self,
        text: str,
        chunks: int | None = None,
        *,
        extend: bool = False,
        seed: int | None = None,
        cast: Sequence[int] | None = None,
        known: Sequence[CastMember] | None = None,
        held: int = 0,
        on_step: OnStep | None = None,
        on_chunk: OnChunk | None = None,
    ) -> Shot:
        """Begin the next shot, an iterator over the frames of its chunks, uint8 `[n, h, w, 3]`.

        A shot that was left before its end is cut where it was left, when the next one begins or the story is left.

        Args:
            text: the shot's own caption.
            chunks: its length, 1 to the longest in training (the paper's: 7; None); it can be cut earlier.
            extend: allows any length, beyond what the model was trained on: the cache then keeps the shot's first
                chunk and its last ones.
            seed: of this take's noise; None: the story's.
            cast: numbers of the members of the cast that it knows; None: all.
            known: these members as they are now; others, to make a shot again as it was before the cast changed.
            held: how many of its latest chunks `Shot.drop` can take back, at most `REVISABLE_CHUNKS`; each costs a copy
                of the decoder's state, and is written to disk that much later.
            on_step: called after every denoising step. If it raises, the chunk in work is forgotten; `next` makes it
                again, and `cut` ends the shot after the chunks before it.
            on_chunk: called with the frames of every chunk before they are handed out.

        Raises:
            InputError: the caption is empty, the length is out of range and `extend` not given, the model makes a shot
                whole and cannot extend it, the seed is none, the cast has no such member, or the story is closed.
        """
        chosen = None if cast is None else tuple(sorted(set(cast)))
        chunks = (shape := self._parts.config.shot).check_chunks(
            shape.max_chunks if chunks is None else chunks, extend=extend
        )
        spec = ShotSpec(text, chunks, extend, self._seed if seed is None else seed, chosen)
        self._system.spec.check_length(chunks, shape)
        noise = self._noise if seed is None else SeededNoise(seed)
        if known is None:
            for number in chosen or ():
                check_member(self.history.cast, number)
        members = choose_members(self.history.cast, chosen) if known is None else tuple(known)
        self._check_memory(chunks)
        self._check_caption(text, len(self.history) + self._making)
        self._leave()
        with torch.inference_mode():
            rollout = self._maker.begin(spec, members, noise, self._reporting(on_step, len(self.history)))
        decoder = self._maker.decoder()
        self._current = Shot(
            rollout, decoder, self.history, spec, shape, self._clock, held, on_chunk, members, self._check_caption
        )
        return self._current

    @property
    def can_prepare(self) -> bool:
        """Return whether `prepare` would do something now that needs no caption."""
        return not self._making and self._maker.can_prepare

    @torch.inference_mode()
    def prepare(self, text: str | None = None) -> None:
        """Encode ahead what the next shot needs, while nobody waits: its first frames come sooner.

        They are the same frames. The context of the next shot is encoded and fills the cache, but not before a story's
        first shot, while a shot is being made, or where the context may depend on the caption to come. That is in vain
        if the story goes elsewhere first, or gets another member of the cast.

        Args:
            text: a caption that may come, because somebody is writing it: it is encoded for the next shot, and while a
                shot is being made for steering that one, too. Of captions that do not come the latest few are kept.

        Raises:
            InputError: the caption is empty, or the story is closed.
        """
        self._check_open()
        if text is not None:
            with self._clock("text"):
                drafts = self._maker.drafts(check_text(text, "a caption that may come"), making=self._making)
                self._reader.prepare(drafts)
        if self.can_prepare:
            self._maker.prepare()

    def add_cast(self, image: Picture, caption: str) -> int:
        """Add a picture to the context of every later shot, such as a character sheet or a place (`story.cast`).

        Returns its number, which stays its own.

        Args:
            image: a path, a PIL image, or uint8 RGB `[h, w, 3]`, of any size; it is cropped and scaled to the story's.
            caption: what it shows.

        Raises:
            InputError: it is no such picture, the caption is empty, the policy has no context, or the story is closed.
        """
        self._check_open()
        self._system.spec.check_cast()
        frame = as_frame(image)
        self._check_caption(check_text(caption, "the caption of a cast member"), CAST_SHOT)
        return self.history.add_cast(frame, caption)

    def rename_cast(self, number: int, caption: str) -> None:
        """Give a member of the cast another caption, under which it is context of later shots.

        Raises:
            InputError: there is no such member, the caption is empty, or the story is closed.
        """
        self._check_open()
        renamed = replace(check_member(self.history.cast, number), caption=check_text(caption, "a caption"))
        self._check_caption(caption, CAST_SHOT)
        self.history.set_cast(renamed if one.number == number else one for one in self.history.cast)

    def remove_cast(self, number: int) -> None:
        """Remove a member of the cast from the context of later shots.

        Raises:
            InputError: there is no such member, or the story is closed.
        """
        self._check_open()
        gone = check_member(self.history.cast, number)
        self.history.set_cast(one for one in self.history.cast if one != gone)

    def branches(self) -> list[Branch]:
        """Return every way to an end of the story, in the order in which the ends were made."""
        return self.history.tree.branches()

    def rewind(self, shot: int) -> None:
        """Go back to before that shot (from 0): the next one made is another take of it. Nothing is removed.

        A shot being made is cut first.

        Raises:
            InputError: there is no such shot, and one that is being made goes on; or the story is closed.
        """
        begun = self._current is not None and not self._current.finished and self._current.chunks > 0
        last = len(self.history) + begun
        if not 0 <= shot <= last:
            raise InputError(f"expected a shot from 0 to {last} to go back to, got {shot}")
        self._leave()
        self.history.switch(self.history.branch[:shot])

    def switch(self, branch: Branch | Sequence[int]) -> None:
        """Go to the end of another branch, or of a beginning of one, given by the takes of its shots.

        A shot being made is cut first, on the branch that it was begun on.

        Raises:
            InputError: there is no such branch, and a shot that is being made goes on; or the story is closed.
        """
        takes = branch.takes if isinstance(branch, Branch) else tuple(branch)
        self.history.tree.switch(takes)
        self._leave()
        self.history.switch(takes)

    def save(self, path: str | Path) -> None:
        """Write all shots of the current branch as one video. A shot being made is cut first, and is in it.

        Raises:
            InputError: there is no shot yet, the file cannot be written, or the story is closed.
        """
        self._leave()
        if not len(self.history):
            raise InputError("expected a story with at least one shot, got none; make a shot first")
        with VideoWriter(path, FPS) as writer:
            for frames in self.history.all_frames():
                writer.add(frames)

    def close(self) -> None:
        """Free the cache, forget a shot that is being made, and remove a temporary history. Again it does nothing."""
        self._maker.close(unused=not self._making)
        if self._current is not None:
            self._current.forget()
        self._current, self._closed = None, True
        self.history.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self._closed:
                self._leave()
        finally:
            self.close()

    def _report_length(self, global_caption: str, text: str, shot: int) -> CaptionReport:
        fitted = self._system.fit(self._parts.text_encoder.lost, global_caption, shot, text)
        return CaptionReport(fitted.lost_global, fitted.lost_text)

    def _check_memory(self, chunks: int) -> None:
        weight = self._parts.transformer.patch_embedding.weight
        held = self._system.spec.held_latents(chunks, self._script, self._parts.config.shot, whole=self._whole)
        memory = ShotMemory(self._parts.config, held, self._sampler.branches, weight.dtype)
        check_memory(memory, self._size, chunks, weight.device)

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("expected an open story, got one that is closed; begin it again, or keep it open longer")

    def _leave(self) -> None:
        self._check_open()
        if self._current is not None:
            self._current.cut()

    def _reporting(self, on_step: OnStep | None, shot: int) -> Sampler:
        """Return the story's sampler, which tells `on_step` of each step of that shot."""
        if on_step is None:
            return self._sampler

        def report(step: int, steps: int, sigma: float, clean: Tensor) -> None:
            chunk = 0 if self._current is None else self._current.chunks
            on_step(StepInfo(shot, chunk, step, steps, sigma, clean))

        return replace(self._sampler, on_step=report)

    @property
    def _making(self) -> bool:
        return self._current is not None and not self._current.finished

    def _read(self, captions: Sequence[str]) -> Float[Tensor, "1 s l e"]:
        with self._clock("text"):
            return self._reader.read(captions)[None]
