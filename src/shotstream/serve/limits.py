"""Settings of a server: where it listens, where it keeps stories, and how much it lets people do."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shotstream.core.errors import InputError
from shotstream.core.spec import ShotShape
from shotstream.serve.errors import RequestError

if TYPE_CHECKING:
    from shotstream.story.cast import CastMember
    from shotstream.story.shot_spec import ShotSpec

DEFAULT_PORT = 7860


@dataclass(frozen=True)
class Limits:
    """Limits beyond which a request is refused.

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
    """Settings of a server: its address, its public address, and the directory of its stories.

    Attributes:
        token: what clients must send; None: everybody who reaches it may use it.
        public_url: its address behind a proxy, with the path below which it stands there, if any.
        trusted_proxies: addresses or networks of proxies whose `X-Forwarded-Host` is believed.
        guidance: scale of guidance of stories that name none; None: the model's.
        negative_prompt: negative prompt of stories that name none.

    Raises:
        InputError: there is no such port, URL or network, or other machines could reach a server without a token.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    limits: Limits = field(default_factory=Limits)
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    guidance: float | None = None
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise InputError(f"expected a port from 0 to 65535, got {self.port}; choose another")
        if self.token is not None and not self.token.strip():
            raise InputError("expected a token, got an empty one; choose a long random one")
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"expected a token for a server that others can reach ({self.host}), got none; give one with --token"
            )
        for proxy in self.trusted_proxies:
            _check_network(proxy)
        if self.public_url is not None:
            self._check_public_url()

    @property
    def public_host(self) -> str | None:
        """Return host and port of the public URL; None where there is none."""
        return urlsplit(self.public_url).netloc.lower() if self.public_url else None

    @property
    def prefix(self) -> str:
        """Return the path of the public URL below which the server stands, without a slash at its end."""
        return urlsplit(self.public_url).path.rstrip("/") if self.public_url else ""

    def trusts(self, address: str) -> bool:
        """Return whether the headers of a proxy at this address are trusted."""
        try:
            where = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(where in ipaddress.ip_network(proxy, strict=False) for proxy in self.trusted_proxies)

    def _check_public_url(self) -> None:
        try:
            parts = urlsplit(self.public_url or "")
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise InputError(
                f"expected the public address as https://HOST or https://HOST/PATH, got {self.public_url!r}"
            )
        if self.token is None and not is_loopback(host):
            raise InputError(
                f"expected a token for a server that others can reach ({self.public_url}), got none; give one with "
                "--token"
            )


def _check_network(proxy: str) -> None:
    try:
        ipaddress.ip_network(proxy, strict=False)
    except ValueError as error:
        raise InputError(
            f"expected a trusted proxy as an address or network (10.0.0.5, 10.0.0.0/8), got {proxy!r}"
        ) from error


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host, given as an address or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_spec(spec: "ShotSpec", limits: Limits, shape: ShotShape, cast: Sequence["CastMember"] = ()) -> None:
    """Raise InputError for a shot that cannot be made here: it or a caption is too long, or the cast lacks a member.

    `shape` is of the model's shots.
    """
    from shotstream.story.cast import check_member

    for text in (spec.text, *(steer.text for steer in spec.steers)):
        check_caption(text, limits)
    shape.check_chunks(spec.chunks, extend=spec.extend)
    if spec.chunks > limits.chunks:
        message = f"This shot has {spec.chunks} chunks. It can have {limits.chunks}; make it shorter."
        raise RequestError("too_large", message)
    for number in spec.cast or ():
        check_member(cast, number)


def check_queue(shots: int, limits: Limits) -> None:
    """Raise RequestError if a queue of so many shots is too long."""
    most = min(limits.queued_shots, limits.shots)
    if shots > most:
        raise RequestError("full", f"At most {most} shots can wait. Wait until some are made.")


def check_negative_prompt(text: str, limits: Limits) -> None:
    """Raise InputError for a negative prompt that is too long; an empty one is none."""
    if text:
        check_caption(text, limits)


def check_caption(text: str, limits: Limits) -> None:
    """Raise InputError for a caption that is empty or too long."""
    from shotstream.story.shot_spec import check_text

    if len(text) > limits.text:
        raise RequestError("too_large", f"This text has {len(text)} characters. Shorten it to {limits.text}.")
    check_text(text, "a caption")
