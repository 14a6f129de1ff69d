"""Sizes: frames, latents, chunks and tokens against the reference's numbers, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, VideoSize, as_video_size, frames_of_latents, latents_of_frames


def test_a_whole_shot_has_the_published_sizes() -> None:
    size = VideoSize(height=480, width=832)
    assert (PAPER_SHOT.max_frames, PAPER_SHOT.max_latents) == (81, 21)
    assert (size.latent_height, size.latent_width) == (60, 104)
    assert size.tokens_per_latent == 1560
    assert size.tokens_per_latent * PAPER_SHOT.chunk_latents == 4680
    assert size.tokens_per_latent * PAPER_SHOT.max_latents == 32760
    assert PAPER_SHOT.context_latents == 2 * PAPER_SHOT.chunk_latents


@pytest.mark.parametrize(("latents", "frames"), [(0, 0), (1, 1), (2, 5), (3, 9), (21, 81)])
def test_the_first_latent_is_one_frame_and_each_later_one_four(latents: int, frames: int) -> None:
    assert frames_of_latents(latents) == frames


@given(st.integers(1, 10_000))
def test_frames_and_latents_are_inverse(latents: int) -> None:
    assert latents_of_frames(frames_of_latents(latents)) == latents


@given(st.integers(1, 7))
def test_a_chunk_is_three_latents(chunks: int) -> None:
    assert PAPER_SHOT.latents_of_chunks(chunks) == 3 * chunks
    assert PAPER_SHOT.frames_of_chunks(chunks) == 12 * chunks - 3


@given(st.integers(-100, 1000).filter(lambda frames: frames < 1 or frames % 4 != 1))
def test_other_numbers_of_frames_are_refused(frames: int) -> None:
    with pytest.raises(InputError, match=f"4n.*got {frames};"):
        latents_of_frames(frames)


@pytest.mark.parametrize("chunks", range(1, 8))
def test_good_lengths_are_handed_back(chunks: int) -> None:
    assert PAPER_SHOT.check_chunks(chunks) == chunks


@pytest.mark.parametrize("chunks", [0, 8, -1, True, 2.0, "3", None])
def test_bad_lengths_are_refused(chunks: object) -> None:
    with pytest.raises(InputError, match="1 to 7 chunks"):
        PAPER_SHOT.check_chunks(chunks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("height", "width", "named", "nearest"),
    [(90, 128, "height", 96), (80, 130, "width", 128), (0, 128, "height", 16), (-16, 128, "height", 16)],
)
def test_a_size_not_divisible_by_16_is_refused_with_the_nearest(
    height: int, width: int, named: str, nearest: int
) -> None:
    with pytest.raises(InputError, match=f"{named} (of at least 16 and )?divisible by 16.*nearest is {nearest}$"):
        VideoSize(height, width)


@pytest.mark.parametrize("size", [VideoSize(80, 128), (128, 80), [128, 80], "128x80"])
def test_a_size_is_given_as_width_and_height(size: Any) -> None:
    assert as_video_size(size) == VideoSize(height=80, width=128)


@pytest.mark.parametrize("size", [128, (128,), (128, 80, 3), (128.0, 80.0), (True, 80), "128", "80,128", "128x8x"])
def test_what_is_no_size_is_refused_with_an_example(size: Any) -> None:
    with pytest.raises(InputError, match=r"expected a size as .*; write for instance \(?128(x80|, 80\))"):
        as_video_size(size)
