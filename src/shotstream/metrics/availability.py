"""Say what is missing for a metric, and the command that fetches it."""

from shotstream.core.extras import install_command, is_installed


class NotAvailableError(Exception):
    """A network, package or endpoint is missing; the message says why, or the command that fetches it."""


def require_package(module: str) -> None:
    """Raise NotAvailableError with the install command unless an optional package is installed."""
    if not is_installed(module):
        raise NotAvailableError(f"run: {install_command(module)}")
