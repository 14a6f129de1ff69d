"""How near a lossy decoder comes: a figure worked out again, and where it is said."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shotstream.bench.bench import open_subject
from shotstream.bench.decoder_fidelity import Fidelity, fidelity_of, noting_latents
from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.model.config import SamplerConfig, TinyDecoderConfig, WanVAEConfig
from shotstream.model.tiny_vae import TinyDecoder, TinyWanVAE
from shotstream.parity.versus import check_comparable
from shotstream.train.presets import TINY
from shotstream.weights.build import random_components
from shotstream.weights.directory import write_directory
from shotstream.weights.wan_layouts import WAN_1_3B

WAN = replace(
    TINY.model,
    conv_codec=None,
    wan_vae=WanVAEConfig(dim=4),
    video=VideoSize(32, 48),
    transformer=replace(TINY.model.transformer, in_dim=16, out_dim=16),
    sampler=SamplerConfig(steps=(1000.0,)),
)
NARROW = TinyDecoderConfig(widths=(8, 6, 4, 4))
LOSSY = replace(WAN, tiny_decoder=NARROW)


def test_the_figure_is_that_of_the_latents_that_were_decoded() -> None:
    parts = random_components(LOSSY)
    codec = parts.codec
    assert isinstance(codec, TinyWanVAE)
    latents = torch.randn(1, 5, 16, 4, 6, generator=torch.Generator().manual_seed(0))
    with noting_latents(codec) as noted, torch.inference_mode():
        state = codec.start_stream()
        tiny = torch.cat([codec.decode_next(part, state) for part in latents.split([1, 4], dim=1)], dim=1)
        full = codec.decode_fully(latents)
    codec.decode(latents)
    assert [part.shape[2] for part in noted] == [1, 4], "nothing is noted any more"
    error = float((tiny - full).square().mean())
    found = fidelity_of(parts, noted)
    assert found == Fidelity(pytest.approx(10 * math.log10(4 / error), abs=1e-3), 17, trained=False)


def test_equal_pictures_with_one_in_a_hundred_off_by_a_fifth() -> None:
    """Worked out by hand: the mean square is 4 / 10^4, so that the peak's square of 4 lies 40 dB above."""
    parts = random_components(LOSSY)

    class Off(TinyWanVAE):
        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            pixels = self.decode_fully(latents)
            pixels.view(-1)[::100] += 0.2
            return pixels

    parts.codec.__class__ = Off
    found = fidelity_of(replace(parts, trained=True), [torch.randn(1, 16, 2, 4, 6)])
    assert found is not None
    assert str(found) == "PSNR 40.0 dB against the full VAE over 5 frames"


def test_models_that_decode_exactly_have_no_figure() -> None:
    parts = random_components(WAN)
    with noting_latents(parts.codec) as noted:
        parts.codec.decode(torch.zeros(1, 1, 16, 4, 6))
    assert noted == []
    assert fidelity_of(parts, noted) is None


@pytest.fixture
def measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The bench of a small model with Wan's VAE, and what it says; a decoder lies beside."""
    write_directory(random_components(WAN), tmp_path / "wan")
    save_file(TinyDecoder(NARROW).state_dict(), tmp_path / "tiny.safetensors")
    words = ["bench", "--model", str(tmp_path / "wan"), "--device", "cpu", "--shots", "1", "--chunks", "1"]

    def run(*options: str) -> tuple[int, str, str]:
        code = main([*words, "--warmup", "0", *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_every_report_of_the_bench_says_it(measure: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    html, figures = tmp_path / "speed.html", tmp_path / "speed.json"
    decoder = ("--decoder", str(tmp_path / "tiny.safetensors"))
    code, out, err = measure(*decoder, "--html", str(html), "--json", str(figures))
    assert (code, "Traceback" in err) == (0, False)
    report = json.loads(figures.read_text())
    fidelity = report["fidelity"]
    assert (fidelity["frames"], fidelity["trained"]) == (9, True)
    said = f"PSNR {fidelity['psnr_db']:.1f} dB against the full VAE over 9 frames"
    assert "LOSSY: decoded by a tiny VAE\n" in out
    assert f"LOSSY: {said}\n" in out
    assert f'<p class="lossy">Lossy: decoded by a tiny VAE; {said}.</p>' in html.read_text()
    assert report["subject"]["lossy"] == ["decoded by a tiny VAE"]


def test_nothing_is_said_of_a_model_that_is_not_lossy(
    measure: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    html, figures = tmp_path / "speed.html", tmp_path / "speed.json"
    code, out, _ = measure("--html", str(html), "--json", str(figures))
    assert code == 0
    assert "LOSSY" not in out
    assert 'class="lossy"' not in html.read_text()
    report = json.loads(figures.read_text())
    assert (report["fidelity"], report["subject"]["lossy"]) == (None, [])


def test_between_random_weights_the_figure_says_nothing() -> None:
    assert str(Fidelity(9.25, 81, trained=False)).endswith("which says nothing, for the weights are random")


def test_a_shape_alone_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotstream.bench.bench.SHAPES", {"small": WAN})
    parts, _ = open_subject("small", torch.device("cpu"), torch.float32, random_weights=True, decoder="taew2_1")
    assert parts.config == replace(WAN, tiny_decoder=TinyDecoderConfig())
    assert (parts.lossy, parts.trained) == (("decoded by a tiny VAE",), False)


@pytest.mark.parametrize(
    ("model", "decoder", "said"),
    [
        ("wan-1.3b", "taew2", "expected --random-weights with a decoder of taew2_1, got 'taew2' .did you mean"),
        ("storyworld", "taew2_1", "storyworld: expected a model with Wan's VAE for a tiny decoder"),
    ],
)
def test_shapes_that_have_no_such_decoder_are_refused(model: str, decoder: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_subject(model, torch.device("cpu"), torch.float32, random_weights=True, decoder=decoder)


def test_the_published_code_is_no_match_for_a_lossy_decoder() -> None:
    check_comparable(WAN_1_3B)
    with pytest.raises(InputError, match="leave --decoder out"):
        check_comparable(replace(WAN_1_3B, tiny_decoder=TinyDecoderConfig()))
