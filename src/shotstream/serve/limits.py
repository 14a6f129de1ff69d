"""What a server is told when it starts: where it listens, where it keeps stories, and how much it lets people do."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from shotstream.core.errors import InputError

DEFAULT_PORT = 7860


@dataclass(frozen=True)
class Limits:
    """How much is allowed before a request is refused.

    `sessions` stories are open at a time; others wait. `ahead_chunks` is how many chunks are made before they are
    shown: with 1, the next one is made while one plays. Texts are measured in characters.
    """

    sessions: int = 4
    stories: int = 10_000
    viewers: int = 64
    shots: int = 500
    chunks: int = 70
    queued_shots: int = 50
    cast: int = 32
    text: int = 2000
    pending_commands: int = 64
    body_bytes: int = 2**20
    picture_bytes: int = 2**23
    import_bytes: int = 2**30
    disk_bytes: int = 20 * 2**30
    ahead_chunks: int = 1

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) <= 0:
                raise InputError(f"expected a limit above 0 for {name}, got {getattr(self, name)}; raise it")


@dataclass(frozen=True)
class Settings:
    """Where a server listens, and where it keeps its stories. `token` None: whoever reaches it may use it.

    Raises:
        InputError: there is no such port, or other machines could reach a server without a token.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise InputError(f"expected a port from 0 to 65535, got {self.port}; choose another")
        if self.token is not None and not self.token.strip():
            raise InputError("expected a token, got an empty one; choose a long random one")
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"expected a token for a server that others can reach ({self.host}), got none; give one with --token"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address, or a name that stands for it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
