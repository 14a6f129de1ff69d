"""Checksums of a directory's files in `SHA256SUMS`, as `sha256sum --check` reads it."""

from pathlib import Path

from shotstream.core.atomic_files import hash_file, write_bytes

CHECKSUMS_FILE = "SHA256SUMS"


def write_checksum(path: Path) -> None:
    """Write down the checksum of a finished file beside it.

    Raises:
        InputError: it cannot be written.
    """
    sums = _read(path.parent) | {path.name: hash_file(path)}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_bytes(path.with_name(CHECKSUMS_FILE), lines.encode())


def is_as_written(path: Path) -> bool:
    """Return whether a file is there and has the checksum that was written down for it."""
    return path.is_file() and _read(path.parent).get(path.name) == hash_file(path)


def _read(directory: Path) -> dict[str, str]:
    """Return the checksum of each file that is listed; a line that is none is passed over."""
    path = directory / CHECKSUMS_FILE
    if not path.is_file():
        return {}
    rows = (line.split("  ", 1) for line in path.read_bytes().decode("utf8", "replace").splitlines())
    return {row[1]: row[0] for row in rows if len(row) == 2}
