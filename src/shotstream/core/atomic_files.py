"""Files that appear whole or not at all, and file-system errors as one line a person can act on."""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shotstream.core.errors import InputError

PARTIAL_SUFFIX = ".part"
_PARTIAL_NAME = re.compile(r"\..+\.[0-9a-f]+\.part", re.ASCII)
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
    errno.EACCES: "permission denied; write elsewhere or change the permissions",
    errno.EPERM: "permission denied; write elsewhere or change the permissions",
    errno.EFBIG: "the file grew larger than allowed here; write elsewhere",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.ENOENT: "the directory does not exist; create it or write elsewhere",
    errno.ENOTDIR: "a part of the path is a file, not a directory; write elsewhere",
    errno.EISDIR: "it is a directory; name a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system while `path` is written into an InputError."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}; check the path and the disk")
        raise InputError(f"cannot write {path}: {advice}") from error


def check_target(path: Path) -> None:
    """Raise InputError where no file can be written: its directory is missing, or it is a directory itself."""
    with writing(path):
        is_directory, has_parent = path.is_dir(), path.parent.is_dir()
    if is_directory:
        raise InputError(f"cannot write {path}: {_ADVICE[errno.EISDIR]}")
    if not has_parent:
        raise InputError(f"cannot write {path}: the directory {path.parent} does not exist; create it first")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, which becomes `path` when the block ends well, and is removed otherwise.

    Raises:
        InputError: the directory is missing, or the finished file cannot be moved to its name.
    """
    check_target(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        yield partial
        with writing(path):
            _flush_to_disk(partial)
            partial.replace(path)
    finally:
        with suppress(OSError):  # such as a name that is too long, which is on its way already
            partial.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(path) as partial, writing(path):
        partial.write_bytes(data)


def write_json(path: Path, data: Any) -> None:
    """Write plain data as readable JSON, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    write_bytes(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())


def make_directory(path: Path) -> Path:
    """Make a directory where it is missing (its parents too), and return it.

    Raises:
        InputError: it cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_partials(directory: Path) -> None:
    """Remove what a killed process left half written in `directory`, and nobody else's files."""
    for partial in directory.glob(f".*{PARTIAL_SUFFIX}"):
        if _PARTIAL_NAME.fullmatch(partial.name):
            partial.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
