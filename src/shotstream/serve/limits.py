"""Settings of a server: where it listens, where it keeps stories, and how much it lets people do."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from shotstream.core.errors import InputError
from shotstream.core.spec import MAX_CHUNKS
from shotstream.serve.errors import RequestError
from shotstream.story.shot_spec import ShotSpec, check_text

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
    audio_bytes: int = 2**26
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


def check_spec(spec: ShotSpec, limits: Limits) -> None:
    """Raise InputError for a shot that cannot be made here: it is too long, or its captions are."""
    for text in (spec.text, *(steer.text for steer in spec.steers)):
        check_caption(text, limits)
    longest = limits.chunks if spec.extend else MAX_CHUNKS
    if spec.chunks > longest:
        raise RequestError("too_large", f"expected at most {longest} chunks, got {spec.chunks}; make another shot")


def check_queue(shots: int, limits: Limits) -> None:
    """Raise RequestError where so many shots may not wait to be made."""
    most = min(limits.queued_shots, limits.shots)
    if shots > most:
        raise RequestError("full", f"expected at most {most} shots in the queue; wait for some")


def check_caption(text: str, limits: Limits) -> None:
    """Raise InputError for what can be no caption here: it is empty, or too long."""
    if len(text) > limits.text:
        raise RequestError("too_large", f"expected at most {limits.text} characters, got {len(text)}; shorten it")
    check_text(text, "a caption")
