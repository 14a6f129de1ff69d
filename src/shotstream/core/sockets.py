"""Take the address that a server listens at."""

import socket

from shotstream.core.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        InputError: the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror or error}; choose another port") from error
