"""Stage `stage2`: distribution matching on self-forced stories, whose context frames the generator made.

A step is one shot: it is rolled out after the generator's own shots, the loss is on it alone, and the next step goes on
with the next shot (paper, section 3.3). The frames of a story's earlier shots are part of the training state, so a run
can stop between two shots. The shot that joins the history is denoised with all steps, as at inference.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.rng import derive_seed
from shotstream.data.batches import encode_captions
from shotstream.data.samples import ShotSource
from shotstream.engine.causal_rollout import ShotInputs
from shotstream.model.codec import Codec
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.model.text_encoder import TextEncoder
from shotstream.story.captions import compose_caption
from shotstream.story.layout import ShotLayout, shot_layout
from shotstream.story.script import Script
from shotstream.story.selectors import FrameRef, PastShot, get_selector, key_frames
from shotstream.train.config import Stage2Training
from shotstream.train.distributed import DistributedContext
from shotstream.train.rng import random_index
from shotstream.train.stages.stage1 import DistillStage, Networks


class Stage2(DistillStage):
    """Inter-shot self-forcing. All stories of a micro-batch are at the same shot, of the same length."""

    name = "stage2"

    def __init__(
        self,
        networks: Networks,
        source: ShotSource,
        codec: Codec,
        encoder: TextEncoder,
        model: ModelConfig,
        student: SamplerConfig,
        config: Stage2Training,
        distributed: DistributedContext,
        first: int = 0,
    ) -> None:
        """Train on stories from number `first` on."""
        super().__init__(networks, student, config, distributed)
        self._source, self._codec, self._encoder = source, codec, encoder
        self._model, self._settings, self._first = model, config, first
        self._select = get_selector(model.context)

    def inputs(self, step: int, micro_batch: int) -> ShotInputs:
        settings, (story, shot) = self._settings, divmod(step, self._settings.shots)
        lengths = [self._frames(story, past) for past in range(shot)]
        past = [PastShot(index, frames, "") for index, frames in enumerate(lengths)]
        shape = self._model.shot
        references = self._select(past, "", shape.context_latents)
        latents = shape.latents_of_chunks(self._chunks(story, shot))
        layout = shot_layout(shot, [r.shot for r in references], shape, latents, self._model.captions)
        scripts, captions = self._scripts(story, micro_batch), (*layout.context_captions, shot)
        needed = [
            [compose_caption(script.global_caption, index, script.shots[index].text) for index in captions]
            for script in scripts
        ]
        text = encode_captions(needed, self._encoder).to(self._distributed.device).float()
        context, target = (part.expand(settings.stories) for part in (layout.context, layout.target))
        every = ShotLayout(context, target, layout.context_captions)
        return ShotInputs.of(self._context(micro_batch, references, lengths), text, every)

    @torch.no_grad()
    def finish_step(self, step: int, micro_batch: int) -> None:
        """Generate the step's shot with the current weights, and keep the frames that later contexts may use."""
        story, shot = divmod(step, self._settings.shots)
        if shot == self._settings.shots - 1:
            self.state.buffers[micro_batch] = {}
            return
        with self._distributed.autocast():
            latents = self.roll_out(self.inputs(step, micro_batch), None, "history", step, micro_batch)
        pixels = self._codec.decode(latents.float()).clamp(-1, 1)
        kept = pixels[:, key_frames(self._frames(story, shot), self._model.shot.context_latents)]
        self.state.buffers.setdefault(micro_batch, {})[f"shot{shot}"] = kept.float().cpu().contiguous()

    def _context(
        self, micro_batch: int, references: Sequence[FrameRef], lengths: Sequence[int]
    ) -> Float[Tensor, "b f c h w"]:
        """Encode each context frame alone; return zeros before the first shot."""
        device, stories, budget = self._distributed.device, self._settings.stories, self._model.shot.context_latents
        if not references:
            size = self._model.video
            shape = (self._codec.latent_channels, size.latent_height, size.latent_width)
            return torch.zeros(stories, budget, *shape, device=device)
        history = self.state.buffers[micro_batch]
        frames = [
            history[f"shot{one.shot}"][:, key_frames(lengths[one.shot], budget).index(one.frame)] for one in references
        ]
        with torch.no_grad():
            return self._codec.encode_frames(torch.stack(frames, 1).to(device)).float()

    def _scripts(self, story: int, micro_batch: int) -> list[Script]:
        draws = [
            derive_seed("script", self._first + story, micro_batch, index) for index in range(self._settings.stories)
        ]
        return [self._source.draw_script(np.random.default_rng(seed), self._settings.shots) for seed in draws]

    def _chunks(self, story: int, shot: int) -> int:
        choice = self._settings.chunks
        return choice[random_index(len(choice), "story-chunks", story, shot)]

    def _frames(self, story: int, shot: int) -> int:
        return self._model.shot.frames_of_chunks(self._chunks(story, shot))
