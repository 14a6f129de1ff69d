"""Names and path by which clients reach the server, directly or through a proxy."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Settings, is_loopback

_DEFAULT_PORTS = (":80", ":443")
_LONGEST = 200


class Site:
    """The server as its clients see it: its own address, its public URL, and what trusted proxies say of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def local_path(self, path: str) -> str | None:
        """Return a path without the prefix of the public URL, which not every proxy takes off; None: add a slash."""
        prefix = self._settings.prefix
        if prefix and path == prefix:
            return None
        return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path

    def check(self, scope: Scope, headers: Headers) -> None:
        """Check that a request means this server and comes from its own page.

        Raises:
            RequestError: it does not; says what to set.
        """
        names = self._names(scope, headers)
        if self._settings.token is None:
            _check_local(names)
        origin = headers.get("origin")
        if origin is not None and _plain(_split(origin)) not in names:
            known = " or ".join(names) or "no name"
            raise RequestError(
                "forbidden",
                f"This request comes from a page at {origin[:_LONGEST]}, but the server knows itself as {known}. "
                "If that page is this server's behind a proxy, start the server with --public-url and its address, or "
                "have the proxy pass Host or X-Forwarded-Host (docs/deploy.md). If not, open the server's own page.",
            )

    def _names(self, scope: Scope, headers: Headers) -> list[str]:
        """Return host and port, by every name that the server goes by in this request."""
        client = scope.get("client")
        forwarded = headers.get("x-forwarded-host", "") if client and self._settings.trusts(client[0]) else ""
        names = (headers.get("host", ""), forwarded.split(",")[0], self._settings.public_host or "")
        return list(dict.fromkeys(_plain(name) for name in names if name.strip()))


def _check_local(names: list[str]) -> None:
    """Raise RequestError where a server without a token is asked by a name that is not this machine's."""
    for name in names:
        if not is_loopback(_host(name)):
            raise RequestError(
                "forbidden",
                f"This server has no token, so it answers to this machine's own names alone, not to {name[:_LONGEST]}. "
                "Open it as 127.0.0.1, or start it with --token for others.",
            )


def _split(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _plain(name: str) -> str:
    """Return host and port in lower case, without a port that needs no saying."""
    plain = name.strip().lower()
    for port in _DEFAULT_PORTS:
        plain = plain.removesuffix(port)
    return plain


def _host(name: str) -> str:
    try:
        return urlsplit(f"//{name}").hostname or ""
    except ValueError:
        return ""
