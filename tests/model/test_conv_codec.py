"""The learned codec: streamed equals whole, causal, and frames that stand alone agree with first frames."""

from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import frames_of_latents
from shotstream.model.codec import Codec
from shotstream.model.config import ConvCodecConfig
from shotstream.model.conv_codec import ConvCodec

CHANNELS = 6
LATENTS = 7


@pytest.fixture(scope="module")
def codec() -> ConvCodec:
    torch.manual_seed(0)
    codec = ConvCodec(ConvCodecConfig("conv", CHANNELS, (8, 4), (2, 1), (8, 4), (2, 1)))
    for last in (codec.encoder.leave, codec.decoder.leave):
        torch.nn.init.normal_(last.weight, std=0.1)
    return codec.double().eval().requires_grad_(False)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clip(latents: int, batch: int = 1) -> Tensor:
    return random(batch, frames_of_latents(latents), 3, 16, 24)


def stream(codec: ConvCodec, latents: Tensor, sizes: list[int]) -> list[Tensor]:
    state = codec.start_stream()
    return [codec.decode_next(piece, state) for piece in latents.split(sizes, 1)]


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=1e-12)


def test_it_is_a_codec(codec: ConvCodec) -> None:
    assert isinstance(codec, Codec)
    assert codec.latent_channels == CHANNELS


@pytest.mark.parametrize("latents", [1, 2, 3, 7])
def test_shapes(codec: ConvCodec, latents: int) -> None:
    pixels = clip(latents, batch=2)
    encoded = codec.encode(pixels)
    assert encoded.shape == (2, latents, CHANNELS, 2, 3)
    assert codec.decode(encoded).shape == pixels.shape


def test_streamed_equals_whole_for_every_split(codec: ConvCodec) -> None:
    latents = random(2, LATENTS, CHANNELS, 2, 3)
    whole = codec.decode(latents)
    splits = [cuts for count in range(LATENTS) for cuts in combinations(range(1, LATENTS), count)]
    assert len(splits) == 2 ** (LATENTS - 1)
    for cuts in splits:
        sizes = [stop - start for start, stop in pairwise((0, *cuts, LATENTS))]
        pieces = stream(codec, latents, sizes)
        assert [piece.shape[1] for piece in pieces] == [4 * size - 3 * (i == 0) for i, size in enumerate(sizes)]
        assert same(torch.cat(pieces, 1), whole), sizes


def test_two_streams_do_not_mix(codec: ConvCodec) -> None:
    one, other = random(1, 4, CHANNELS, 2, 3), random(1, 4, CHANNELS, 2, 3, seed=1)
    states = (codec.start_stream(), codec.start_stream())
    pieces: tuple[list[Tensor], list[Tensor]] = ([], [])
    for index in range(4):
        for state, latents, made in zip(states, (one, other), pieces, strict=True):
            made.append(codec.decode_next(latents[:, index : index + 1], state))
    assert same(torch.cat(pieces[0], 1), codec.decode(one))
    assert same(torch.cat(pieces[1], 1), codec.decode(other))


@pytest.mark.parametrize("changed", range(LATENTS))
def test_decoding_is_causal(codec: ConvCodec, changed: int) -> None:
    latents = random(1, LATENTS, CHANNELS, 2, 3)
    other = latents.clone()
    other[:, changed] += 1
    plain, moved = codec.decode(latents), codec.decode(other)
    begin = frames_of_latents(changed)
    assert torch.equal(plain[:, :begin], moved[:, :begin])
    assert not torch.equal(plain[:, begin], moved[:, begin])


@pytest.mark.parametrize("changed", [0, 1, 4, 5, 24])
def test_encoding_is_causal(codec: ConvCodec, changed: int) -> None:
    pixels = clip(LATENTS)
    other = pixels.clone()
    other[:, changed] += 1
    plain, moved = codec.encode(pixels), codec.encode(other)
    latent = (changed + 3) // 4
    assert torch.equal(plain[:, :latent], moved[:, :latent])
    assert not torch.equal(plain[:, latent], moved[:, latent])


def test_a_frame_alone_is_a_first_frame(codec: ConvCodec) -> None:
    pixels = clip(3, batch=2)
    alone = codec.encode_frames(pixels)
    assert alone.shape == (2, 9, CHANNELS, 2, 3)
    assert same(codec.encode(pixels)[:, :1], alone[:, :1])
    for frame in range(9):
        assert same(codec.encode(pixels[:, frame : frame + 1]), alone[:, frame : frame + 1])
    latents = codec.encode(pixels)
    assert same(codec.decode(latents[:, :1]), codec.decode(latents)[:, :1])


def test_batches_are_decoded_as_if_alone(codec: ConvCodec) -> None:
    latents = random(3, 4, CHANNELS, 2, 3)
    together = codec.decode(latents)
    assert all(same(together[i : i + 1], codec.decode(latents[i : i + 1])) for i in range(3))


@pytest.mark.parametrize("frames", [2, 3, 4, 6, 12])
def test_other_numbers_of_frames_are_refused(codec: ConvCodec, frames: int) -> None:
    with pytest.raises(InputError, match=r"4n \+ 1"):
        codec.encode(random(1, frames, 3, 16, 16))


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 20), (7, 7)])
def test_other_sizes_are_refused(codec: ConvCodec, height: int, width: int) -> None:
    with pytest.raises(InputError, match=f"divisible by 8, got {height}x{width}"):
        codec.encode(random(1, 5, 3, height, width))


def test_what_a_stream_remembers_is_one_latent(codec: ConvCodec) -> None:
    state = codec.start_stream()
    assert state.last is None
    latents = random(1, LATENTS, CHANNELS, 2, 3)
    codec.decode_next(latents, state)
    assert state.last is not None
    assert torch.equal(state.last, latents[:, -1])
