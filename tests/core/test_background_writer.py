"""Videos that are encoded while they are made."""

from pathlib import Path

import numpy as np
import pytest

from shotstream.core.background_writer import BackgroundVideoWriter
from shotstream.core.errors import InputError
from shotstream.core.video import Frames, read_video


def pieces(count: int) -> list[Frames]:
    source = np.random.default_rng(0)
    return [source.integers(0, 256, (3, 32, 48, 3), dtype=np.uint8) for _ in range(count)]


def test_a_film_is_what_was_added_in_order(tmp_path: Path) -> None:
    film, made = BackgroundVideoWriter(tmp_path / "a.mkv", 16), pieces(9)
    assert film.extend(made).finish() == 27
    assert np.array_equal(read_video(tmp_path / "a.mkv"), np.concatenate(made))


def test_a_film_has_no_name_before_it_is_finished(tmp_path: Path) -> None:
    film = BackgroundVideoWriter(tmp_path / "a.mkv", 16).extend(pieces(2))
    assert not (tmp_path / "a.mkv").exists()
    film.abandon()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_goes_wrong_is_said_at_the_end(tmp_path: Path) -> None:
    film = BackgroundVideoWriter(tmp_path / "a.mkv", 16).extend([*pieces(1), np.zeros((1, 16, 16, 3), np.uint8)])
    with pytest.raises(InputError, match="expected frames of 48x32, got 16x16"):
        film.finish()
    assert not list(tmp_path.iterdir())


def test_a_film_has_at_least_one_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not one frame"):
        BackgroundVideoWriter(tmp_path / "a.mkv", 16).finish()
    assert not list(tmp_path.iterdir())
