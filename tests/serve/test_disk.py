"""Disk space of the stories: measured now and then, not at every command."""

from pathlib import Path
from typing import Any

import pytest

from shotstream.serve import disk
from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Limits


def test_shots_do_not_walk_through_all_stories(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[Path] = []
    plain = disk.used_bytes
    monkeypatch.setattr(disk, "used_bytes", lambda directory: walks.append(directory) or plain(directory))
    monkeypatch.setattr(disk, "MEASURE_EVERY_S", 3600.0)
    with serve() as studio:
        name = studio.begin()
        for _ in range(5):
            assert studio.command(name, type="queue", shots=[{"text": "It walks.", "chunks": 1}]).status_code == 200
        assert len(walks) == 1


def test_a_limit_that_is_reached_is_noticed_in_time_and_a_removal_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr("shotstream.serve.disk.time.monotonic", lambda: now_s)
    space = disk.DiskSpace(tmp_path, Limits(disk_bytes=1000))
    space.check()
    (tmp_path / "shot.mkv").write_bytes(b"x" * 2000)
    now_s += disk.MEASURE_EVERY_S
    with pytest.raises(RequestError, match="all that they may"):
        space.check()
    (tmp_path / "shot.mkv").unlink()
    with pytest.raises(RequestError):
        space.check()
    space.measure_again()
    space.check()
