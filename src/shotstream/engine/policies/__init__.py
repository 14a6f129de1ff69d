"""The published systems that the engine can run, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.engine.policies.cinetrans import CineTrans
from shotstream.engine.policies.echoshot import EchoShot
from shotstream.engine.policies.full import Full
from shotstream.engine.policies.holocine import HoloCine
from shotstream.engine.policies.infinity_rope import InfinityRope
from shotstream.engine.policies.lct import LCT
from shotstream.engine.policies.longlive import LongLive
from shotstream.engine.policies.mask2dit import Mask2DiT
from shotstream.engine.policies.rolling_forcing import RollingForcing
from shotstream.engine.policies.self_forcing import SelfForcing
from shotstream.engine.policy import Policy

_ALL: tuple[Policy, ...] = (
    SelfForcing(),
    LongLive(),
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
"""Every policy by its name."""


def find_policy(name: str) -> Policy:
    """Return the policy of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in POLICIES:
        hint = nearest(name, POLICIES) or f"; the policies are {', '.join(POLICIES)}"
        raise InputError(f"unknown policy '{name}'{hint}")
    return POLICIES[name]
