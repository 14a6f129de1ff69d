"""The published systems that the engine can run, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.spec import ShotShape
from shotstream.engine.maker import Maker, StorySetup
from shotstream.engine.policies.cinetrans import CineTrans
from shotstream.engine.policies.echoshot import EchoShot
from shotstream.engine.policies.full import Full
from shotstream.engine.policies.holocine import HoloCine
from shotstream.engine.policies.infinity_rope import InfinityRope
from shotstream.engine.policies.lct import LCT
from shotstream.engine.policies.longlive import LongLive
from shotstream.engine.policies.longlive2 import LongLive2
from shotstream.engine.policies.mask2dit import Mask2DiT
from shotstream.engine.policies.memflow import MemFlow
from shotstream.engine.policies.rolling_forcing import RollingForcing
from shotstream.engine.policies.self_forcing import SelfForcing
from shotstream.engine.policies.shotstream import SHOTSTREAM, ShotStreamMaker
from shotstream.engine.policies.teacher import TEACHER, TeacherMaker
from shotstream.engine.policy import Policy, PolicySpec
from shotstream.engine.video_maker import VideoMaker
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.model.text_encoder import TextEncoder
from shotstream.story.caption_fit import FitCaption, FittedCaption, Lost, fit_caption, fit_prompt
from shotstream.story.script import Script

_ALL: tuple[Policy, ...] = (
    SelfForcing(),
    SelfForcing(window=27),
    LongLive(),
    LongLive2(),
    MemFlow(),
    RollingForcing(),
    InfinityRope(),
    EchoShot(),
    CineTrans(),
    HoloCine(sparse=True),
    HoloCine(sparse=False),
    Mask2DiT(),
    LCT(),
    Full(),
)
POLICIES: Mapping[str, Policy] = MappingProxyType({policy.spec.name: policy for policy in _ALL})
"""Every policy that makes a video over the engine, by its name."""


@dataclass(frozen=True)
class System:
    """A policy ready for stories: what it can do, what makes a story's shots, and how their captions are fitted."""

    spec: PolicySpec
    begin: Callable[[StorySetup], Maker]
    fit: FitCaption = fit_caption
    prompts: Callable[[str, Sequence[str]], Sequence[str]] | None = None

    def check_script(self, script: Script, shape: ShotShape, encoder: TextEncoder) -> None:
        """Check that the policy can make a story, and that the text encoder reads its prompts.

        `shape` is of the model's shots.

        Raises:
            InputError: it has too few or too many shots, is too long, or has steers or a cast that it cannot have.
        """
        self.spec.check_script(script, shape)
        if self.prompts is not None and self.spec.joined_prompts is not None:
            whole = script.global_caption
            prompts = self.prompts(whole, [shot.text for shot in script.shots])
            fitted = [fit_prompt(encoder.lost, whole, prompt).caption for prompt in prompts]
            self.spec.check_prompts(sum(map(encoder.count_tokens, fitted)), encoder.config.text_len)


def _fit_by(policy: Policy, lost: Lost, global_caption: str, shot: int, text: str) -> FittedCaption:  # noqa: ARG001
    """Return that prompt of a policy for a shot of which most is lost."""
    fitted = [fit_prompt(lost, global_caption, prompt) for prompt in policy.prompts(global_caption, [text])]
    return max(fitted, key=lambda one: len(one.lost_text) + len(one.lost_global))


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "shotstream": System(SHOTSTREAM, ShotStreamMaker),
        "teacher": System(TEACHER, TeacherMaker),
        **{
            name: System(policy.spec, partial(VideoMaker, policy), partial(_fit_by, policy), policy.prompts)
            for name, policy in POLICIES.items()
        },
    }
)
"""Every system by its name, ShotStream first."""


def find_system(name: str) -> System:
    """Return the system of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in SYSTEMS:
        raise InputError(f"unknown policy '{name}'{_known_names(name, SYSTEMS)}")
    return SYSTEMS[name]


def find_policy(name: str) -> Policy:
    """Return the policy of that name that makes a video over the engine.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in POLICIES:
        known = _known_names(name, POLICIES)
        raise InputError(f"expected the name of a policy beside shotstream and teacher, got '{name}'{known}")
    return POLICIES[name]


def _known_names(name: str, table: Mapping[str, object]) -> str:
    """Return the end of a message on an unknown name: the nearest one, or all where none is near."""
    return nearest(name, table) or f"; the policies are {', '.join(table)}"


def default_policy(config: ModelConfig, sampler: SamplerConfig | None = None) -> str:
    """Return the policy that a model was made for; `sampler` None: with the model's own.

    Where the configuration does not say, it is the teacher's if the sampler makes shots whole, else ShotStream's.
    """
    return config.policy or ("teacher" if (sampler or config.sampler).order == "whole" else "shotstream")


def default_sampler(spec: PolicySpec, config: ModelConfig) -> SamplerConfig:
    """Return how a policy denoises with a model.

    Models of Wan's latents take the policy's published sampler. A model with a codec of its own keeps its sampler: its
    weights were trained for no other policy, and a distilled network knows its own noise levels alone.
    """
    return config.sampler if spec.sampler is None or config.wan_vae is None else spec.sampler
