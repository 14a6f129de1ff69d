"""Wan's VAE: parity with the reference, streaming, causality, configuration."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import load_file
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import frames_of_latents
from shotstream.model import wan_vae_layers as vae_layers
from shotstream.model.config import WanVAEConfig
from shotstream.model.wan_vae import LATENTS_MEAN, LATENTS_STD, WanVAE, wan_vae_config

GOLDEN = Path(__file__).parents[1] / "golden"
SPLITS = ([1] * 6, [3, 3], [2, 4], [5, 1], [1, 5])


@pytest.fixture(scope="module")
def config() -> WanVAEConfig:
    return wan_vae_config(json.loads((GOLDEN / "vae/config.json").read_text()))


@pytest.fixture(scope="module")
def cases() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vae/cases.safetensors")


@pytest.fixture
def vae(config: WanVAEConfig) -> WanVAE:
    model = WanVAE(config).requires_grad_(False)
    model.load_state_dict(load_file(GOLDEN / "vae/weights.safetensors"))
    return model


@pytest.fixture
def latents(cases: dict[str, Tensor]) -> Tensor:
    """Six small latents in float64, where a difference is one of logic and not of rounding."""
    return cases["decode.latents"][..., :3, :4].double()


@pytest.fixture
def pixels(cases: dict[str, Tensor]) -> Tensor:
    """Thirteen small frames in float64."""
    return cases["encode.pixels"].movedim(1, 2)[..., :24, :32].double()


def relative_error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max()).item()


def stream(vae: WanVAE, latents: Tensor, split: list[int]) -> Tensor:
    state = vae.start_stream()
    return torch.cat([vae.decode_next(part, state) for part in latents.split(split, dim=1)], dim=1)


def test_parameters_are_those_of_the_published_checkpoint() -> None:
    published = json.loads((GOLDEN / "manifest/wan2.1-vae.json").read_text())
    with torch.device("meta"):
        ours = WanVAE().state_dict()
    assert {name: list(tensor.shape) for name, tensor in ours.items()} == published


@pytest.mark.parametrize("split", SPLITS)
def test_streamed_equals_whole(vae: WanVAE, latents: Tensor, split: list[int]) -> None:
    vae.double()
    assert relative_error(stream(vae, latents, split), vae.decode(latents)) <= 1e-12


def test_each_call_gives_the_frames_of_its_latents(vae: WanVAE, latents: Tensor) -> None:
    vae.double()
    state = vae.start_stream()
    frames = [vae.decode_next(part, state).shape[1] for part in latents.split([1, 2, 3], dim=1)]
    assert frames == [1, 8, 12]
    assert sum(frames) == frames_of_latents(6)


def test_passes_that_bound_memory_change_nothing(vae: WanVAE, latents: Tensor, pixels: Tensor) -> None:
    vae.double()
    expected = vae.decode(latents), vae.encode(pixels), vae.encode_frames(pixels)
    for latents_a_pass in (1, 2):
        vae.pixels_per_pass = latents_a_pass * 4 * 24 * 32
        got = vae.decode(latents), vae.encode(pixels), vae.encode_frames(pixels)
        assert max(map(relative_error, got, expected)) <= 1e-12


def test_later_latents_never_change_earlier_frames(vae: WanVAE, latents: Tensor) -> None:
    vae.double()
    changed = latents.clone()
    changed[:, 4:] += 1
    before, after = vae.decode(latents), vae.decode(changed)
    kept = frames_of_latents(4)
    assert relative_error(after[:, :kept], before[:, :kept]) <= 1e-12
    assert relative_error(after[:, kept:], before[:, kept:]) > 1e-2


def test_later_frames_never_change_earlier_latents(vae: WanVAE, pixels: Tensor) -> None:
    vae.double()
    changed = pixels.clone()
    changed[:, 9:] *= -1
    before, after = vae.encode(pixels), vae.encode(changed)
    assert relative_error(after[:, :3], before[:, :3]) <= 1e-12
    assert relative_error(after[:, 3:], before[:, 3:]) > 1e-2


def test_frames_are_encoded_alone(vae: WanVAE, pixels: Tensor) -> None:
    vae.double()
    clips = torch.cat([pixels[:, :3], pixels[:, 5:8]])
    together = vae.encode_frames(clips)
    assert together.shape == (2, 3, 16, 3, 4)
    for clip in range(2):
        for frame in range(3):
            alone = vae.encode(clips[clip : clip + 1, frame : frame + 1])
            assert relative_error(together[clip : clip + 1, frame : frame + 1], alone) <= 1e-12


def test_one_frame_without_state_equals_one_frame_with_a_fresh_state(vae: WanVAE, pixels: Tensor) -> None:
    vae.double()
    first_of_clip = vae.encode(pixels[:, :5])[:, :1]
    assert relative_error(vae.encode(pixels[:, :1]), first_of_clip) <= 1e-12


def test_a_batch_is_its_clips(vae: WanVAE, latents: Tensor, pixels: Tensor) -> None:
    vae.double()
    clips, videos = torch.cat([latents, -latents]), torch.cat([pixels, -pixels])
    assert relative_error(vae.decode(clips)[1:], vae.decode(-latents)) <= 1e-12
    assert relative_error(vae.encode(videos)[1:], vae.encode(-pixels)) <= 1e-12


def test_streams_do_not_mix_and_keep_their_memory(vae: WanVAE, latents: Tensor) -> None:
    vae.double()
    one, other = vae.start_stream(), vae.start_stream()
    got = [vae.decode_next(latents[:, :3], one)]
    addresses = [history.data_ptr() for history in one.history if history is not None]
    vae.decode_next(-latents[:, :3], other)
    got.append(vae.decode_next(latents[:, 3:], one))
    assert relative_error(torch.cat(got, dim=1), vae.decode(latents)) <= 1e-12
    assert addresses == [history.data_ptr() for history in one.history if history is not None]
    assert len(addresses) == len(one.history)


def test_a_state_refuses_another_clip(vae: WanVAE, latents: Tensor) -> None:
    vae.double()
    state = vae.start_stream()
    vae.decode_next(latents[:, :1], state)
    with pytest.raises(AssertionError, match="one clip"):
        vae.decode_next(latents[:, 1:2, :, :2], state)


def test_shape_annotations_are_checked_here(vae: WanVAE, latents: Tensor) -> None:
    with pytest.raises(TypeCheckError):
        vae.decode(latents[0])


def test_bfloat16_stays_close_and_keeps_float32_statistics(vae: WanVAE, latents: Tensor, pixels: Tensor) -> None:
    frames, encoded = vae.decode(latents.float()), vae.encode(pixels.float())
    vae.bfloat16()
    got_frames, got_encoded = vae.decode(latents.float()), vae.encode(pixels.float())
    assert got_frames.dtype == got_encoded.dtype == torch.float32
    assert vae.decode(latents.bfloat16()).dtype == torch.bfloat16
    assert (got_frames - frames).abs().mean() < 0.05 * frames.abs().mean()
    assert (got_encoded - encoded).abs().mean() < 0.05 * encoded.abs().mean()
    assert vae.mean_bits.view(torch.float32).tolist() == pytest.approx(LATENTS_MEAN, rel=1e-6)


def test_built_without_memory_and_filled(config: WanVAEConfig, cases: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        model = WanVAE(config)
    model.load_state_dict(load_file(GOLDEN / "vae/weights.safetensors"), assign=True)
    pixels = cases["encode_one.pixels"].movedim(1, 2)
    assert relative_error(model.encode(pixels), cases["encode_one.latents"]) <= 1e-5


@pytest.mark.parametrize("frames", [2, 4, 12])
def test_a_clip_is_4n_plus_1_frames(vae: WanVAE, pixels: Tensor, frames: int) -> None:
    with pytest.raises(InputError, match=rf"4n \+ 1 frames .* got {frames}"):
        vae.encode(pixels[:, :frames])


def test_height_and_width_are_divisible_by_8(vae: WanVAE, pixels: Tensor) -> None:
    for encode in (vae.encode, vae.encode_frames):
        with pytest.raises(InputError, match="divisible by 8, got 20 x 32"):
            encode(pixels[..., :20, :])


def test_configuration_must_make_a_codec(config: WanVAEConfig) -> None:
    with pytest.raises(InputError, match="temporal_downsample"):
        WanVAE(replace(config, temporal_downsample=(True, True, True)))
    with pytest.raises(InputError, match="dim_mult"):
        WanVAE(replace(config, dim_mult=(1, 2, 4)))
    with pytest.raises(InputError, match="expected 4 values"):
        WanVAE(WanVAEConfig(dim=8, z_dim=4))


DIFFUSERS = {
    "_class_name": "AutoencoderKLWan",
    "_diffusers_version": "0.35.0.dev0",
    "attn_scales": [],
    "base_dim": 96,
    "decoder_base_dim": None,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "in_channels": 3,
    "is_residual": False,
    "num_res_blocks": 2,
    "out_channels": 3,
    "patch_size": None,
    "scale_factor_spatial": 8,
    "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}


def test_published_configurations(config: WanVAEConfig) -> None:
    assert wan_vae_config(DIFFUSERS) == WanVAEConfig()
    assert wan_vae_config({}) == WanVAEConfig()
    assert (config.dim, config.num_res_blocks, config.temporal_downsample) == (8, 1, (False, True, True))
    assert config.latents_mean == pytest.approx(LATENTS_MEAN, rel=1e-6)
    assert config.latents_std == pytest.approx(LATENTS_STD, rel=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("is_residual", True, "expected is_residual False"),
        ("decoder_base_dim", 256, "expected decoder_base_dim 96"),
        ("in_channels", 12, "expected in_channels 3"),
        ("dim_multi", [1], r"unknown key 'dim_multi' \(did you mean 'dim_mult'"),
        ("z_dim", "16", "expected int, got '16'"),
    ],
)
def test_other_configurations_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wan_vae_config({**DIFFUSERS, key: value})


@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1)])
def test_a_picture_is_convolved_as_if_it_had_been_enlarged(height: int, width: int) -> None:
    torch.manual_seed(0)
    layer, x = vae_layers.EnlargingConv2d(6, 4, 3).double(), torch.randn(2, 6, height, width, dtype=torch.float64)
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(doubled, layer.weight, layer.bias, padding=1))
    assert layer(x).is_contiguous(memory_format=torch.channels_last)
