"""Decide how a transformer is to be sampled: as a distilled student, a teacher, or the base model.

Published files do not say it, and their names say nothing reliable: the same tensors go by many names. So the role is
given by the user, or assumed from the form of the checkpoint, and then the assumption is reported with its reason.
"""

from pathlib import Path
from typing import Literal, get_args

from shotstream.core.errors import InputError
from shotstream.model.config import SamplerConfig

Role = Literal["student", "teacher", "base"]
"""`student`: distilled to few steps. `teacher`: makes a shot whole, in both directions. `base`: not distilled."""
ROLES: tuple[Role, ...] = get_args(Role)
SAMPLERS: dict[str, SamplerConfig] = {
    "student": SamplerConfig(),
    "teacher": SamplerConfig(kind="euler", guidance=6.0, order="whole"),
    "base": SamplerConfig(kind="euler", guidance=6.0),
}
"""Sampling of each role. Wan2.1-T2V-1.3B and the teacher: 50 Euler steps, shift 8, guidance 6."""
_TRAINED_KEY = "generator"


def check_role(role: str) -> None:
    """Check that there is such a role.

    Raises:
        InputError: there is none.
    """
    if role not in ROLES:
        raise InputError(f"expected a role of {', '.join(ROLES)}, got '{role}'")


def assume_role(path: Path, key: str | None) -> tuple[Role, str]:
    """Assume the role of a transformer that the user did not give.

    Args:
        path: of its file, for the note only.
        key: of the container that held its tensors.

    Returns:
        The role, and a note that says how it will be sampled, why, and how to say otherwise.
    """
    if key is not None and key.startswith(_TRAINED_KEY):
        role: Role = "student"
        reason = f"its tensors lie under '{key}', as trainers of distilled generators save them"
    else:
        role, reason = "base", "nothing in it says that it was distilled"
    sampler = SAMPLERS[role]
    guided = f"guidance {sampler.guidance:g}" if sampler.guidance != 1 else "no guidance"
    others = " or ".join(other for other in ROLES if other != role)
    note = f"{path}: assumed role {role} ({sampler.count} steps a chunk, {guided}), because {reason}"
    return role, f"{note}; --role takes {others}"
