"""What an export has: one shot, a still, larger frames, cross-fades, a soundtrack."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from shotstream.core.spec import FPS, PAPER_SHOT
from shotstream.serve.edit import cross_fade

LONG, SHORT = PAPER_SHOT.frames_of_chunks(2), PAPER_SHOT.frames_of_chunks(1)
SECOND_S = 48_000


@pytest.fixture
def told(studio: Any) -> str:
    """A story of two shots, the second of which has two takes."""
    name = studio.begin()
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 2)
        watcher.make("The fox sleeps.", 1)
        watcher.say(type="retry", shot=1, seed=5, id=2)
        watcher.until(type="done", id=2)
        watcher.rest()
    return name


def frames(data: bytes) -> list[Any]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def get(studio: Any, story: str, path: str) -> bytes:
    reply = studio.client.get(f"/api/stories/{story}/export/{path}")
    assert reply.status_code == 200, reply.text
    return bytes(reply.content)


def still(studio: Any, story: str, options: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(get(studio, story, f"png?{options}"))))


def lossless(studio: Any, story: str, shot: int) -> np.ndarray:
    """The frames of a shot on the branch as they lie on the disk."""
    directory = studio.client.app.state.server.store.directory(story)
    with av.open(str(directory / (f"shot-{shot:03d}.take-1.mkv" if shot else "shot-000.mkv"))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_one_shot_or_one_take_is_exported_alone(studio: Any, told: str) -> None:
    assert len(frames(get(studio, told, "mp4?shot=0"))) == LONG
    assert len(frames(get(studio, told, "webm?shot=1&token=any"))) == SHORT
    ours, other = (still(studio, told, f"shot=1&take={take}&frame=4") for take in (1, 0))
    assert (ours != other).any()
    assert (still(studio, told, "shot=1&frame=4") == ours).all()


def test_a_still_is_the_frame_as_it_was_made(studio: Any, told: str) -> None:
    shot = lossless(studio, told, 1)
    assert (still(studio, told, "shot=1&frame=3") == shot[3]).all()
    assert (still(studio, told, "") == shot[-1]).all(), "the last one"


def test_frames_are_enlarged_by_pixels_or_smoothly(studio: Any, told: str) -> None:
    plain = still(studio, told, "")
    nearest, lanczos = (still(studio, told, f"scale=3&filter={name}") for name in ("nearest", "lanczos"))
    assert (nearest == plain.repeat(3, 0).repeat(3, 1)).all()
    assert lanczos.shape == nearest.shape
    assert (lanczos != nearest).any()
    assert abs(lanczos.mean() - nearest.mean()) < 3
    assert frames(get(studio, told, "mp4?scale=6"))[0].shape == (6 * 32, 6 * 48, 3)


def test_shots_fade_into_each_other(studio: Any, told: str) -> None:
    assert len(frames(get(studio, told, "mp4?fade=4"))) == LONG + SHORT - 4
    reply = studio.client.get(f"/api/stories/{told}/export/mp4?fade=5")
    assert reply.json()["code"] == "invalid"
    assert "at most 4 frames" in reply.json()["message"]


def test_a_cross_fade_mixes_the_end_of_one_shot_with_the_beginning_of_the_next() -> None:
    clips = [[np.full((1, 1, 3), value, np.uint8)] * 4 for value in (0, 200, 100)]
    assert [int(frame[0, 0, 0]) for frame in cross_fade(clips, 1)] == [0, 0, 0, 100, 200, 200, 150, 100, 100, 100]
    assert [int(frame[0, 0, 0]) for frame in cross_fade(clips[:2], 0)] == [0] * 4 + [200] * 4


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("mp4?shot=2", "not_found"),
        ("mp4?shot=1&take=2", "not_found"),
        ("png?shot=1&frame=9", "not_found"),
        ("png?frame=3", "invalid"),
        ("mp4?shot=1&frame=3", "invalid"),
        ("mp4?scale=7", "invalid"),
        ("mp4?scal=2", "invalid"),
        ("yaml?scale=2", "invalid"),
        ("zip?shot=0", "invalid"),
    ],
)
def test_options_that_do_not_fit_are_refused(studio: Any, told: str, path: str, code: str) -> None:
    reply = studio.client.get(f"/api/stories/{told}/export/{path}")
    assert reply.json()["code"] == code, reply.text


def tone(seconds: float, kind: str = "wav", codec: str = "pcm_s16le") -> bytes:
    """A tone of one channel at 8 kHz."""
    target = io.BytesIO()
    with av.open(target, "w", format=kind) as output:
        stream = output.add_stream(codec, rate=8000, layout="mono")
        wave = (8000 * np.sin(np.arange(int(8000 * seconds)) * 0.3)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return target.getvalue()


def heard(data: bytes) -> np.ndarray:
    """The samples of the left channel."""
    with av.open(io.BytesIO(data)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_soundtrack_lies_under_the_video_and_ends_with_it(studio: Any, told: str, kind: str, tmp_path: Path) -> None:
    reply = studio.client.post(f"/api/stories/{told}/export/{kind}", content=tone(5))
    assert reply.status_code == 200, reply.text
    pictures, sound = frames(reply.content), heard(reply.content)
    silent = frames(get(studio, told, kind))
    assert len(pictures) == LONG + SHORT
    assert all((a == b).all() for a, b in zip(pictures, silent, strict=True)), "the pictures are copied"
    assert abs(len(sound) / SECOND_S - len(pictures) / FPS) < 0.06
    loud, end = np.abs(sound[SECOND_S // 2 : SECOND_S]).mean(), np.abs(sound[-SECOND_S // 20 :]).mean()
    assert loud > 0.1
    assert end < loud / 4, "it is faded out"
    assert list((tmp_path / "data" / "passing").iterdir()) == []


def test_a_short_soundtrack_leaves_the_rest_silent(studio: Any, told: str) -> None:
    data = studio.client.post(f"/api/stories/{told}/export/mp4?shot=0", content=tone(0.5, "flac", "flac")).content
    assert len(frames(data)) == LONG
    assert abs(len(heard(data)) / SECOND_S - 0.5) < 0.06


@pytest.mark.parametrize("audio", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WAVEjunk", b"OggSxx"])
def test_other_files_are_no_soundtrack(studio: Any, told: str, audio: bytes, tmp_path: Path) -> None:
    reply = studio.client.post(f"/api/stories/{told}/export/mp4", content=audio)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid"), reply.text
    assert reply.json()["message"].startswith("This file is ")
    assert "soundtrack" in reply.json()["message"]
    assert list((tmp_path / "data" / "passing").iterdir()) == []


def test_a_soundtrack_has_a_size_limit(serve: Any) -> None:
    with serve(audio_bytes=1000) as studio:
        reply = studio.client.post(f"/api/stories/{studio.begin()}/export/mp4", content=b"x" * 2000)
        assert reply.json()["code"] == "too_large"
