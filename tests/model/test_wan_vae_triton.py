"""The VAE's kernels against torch's convolutions. Without a CUDA device: in Triton's interpreter."""

import os
from importlib.util import find_spec

import pytest
import torch

from shotstream.model import wan_vae_layers as vae_layers
from shotstream.model.config import WanVAEConfig
from shotstream.model.wan_vae import WanVAE

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
CUDA = torch.cuda.is_available()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not find_spec("triton") or not (CUDA or INTERPRETED),
        reason="no triton with a CUDA device or TRITON_INTERPRET=1",
    ),
]
SMALL = WanVAEConfig(dim=16, z_dim=16, dim_mult=(1, 2, 2, 2), num_res_blocks=1)


def both(monkeypatch: pytest.MonkeyPatch, run) -> tuple[torch.Tensor, torch.Tensor]:
    if INTERPRETED:
        monkeypatch.setattr(vae_layers, "fuses", lambda x: not x.shape[1] % 16)
    fused = run()
    monkeypatch.setattr(vae_layers, "fuses", lambda _: False)
    return fused, run()


def vae() -> WanVAE:
    torch.manual_seed(0)
    network = WanVAE(SMALL).eval()
    return network if INTERPRETED else network.to("cuda", torch.bfloat16)


@torch.inference_mode()
def test_a_clip_decoded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = vae()
    latents = torch.randn(1, 3, 16, 1, 2, device=network.conv1.weight.device)

    def run() -> torch.Tensor:
        state = network.start_stream()
        return torch.cat([network.decode_next(part, state) for part in latents.split(2, dim=1)], 1)

    fused, plain = both(monkeypatch, run)
    torch.testing.assert_close(fused, plain, atol=1e-5 if INTERPRETED else 0.05, rtol=0)


@torch.inference_mode()
def test_frames_encoded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network = vae()
    pixels = torch.rand(1, 2, 3, 16, 16, device=network.conv1.weight.device) * 2 - 1
    fused, plain = both(monkeypatch, lambda: network.encode_frames(pixels))
    torch.testing.assert_close(fused, plain, atol=1e-5 if INTERPRETED else 0.05, rtol=0)
