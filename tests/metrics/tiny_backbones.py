"""Random, tiny networks of the metrics' architectures, saved as a hub's snapshot would lie on disk."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    SamConfig,
    SamModel,
    ViTConfig,
    ViTModel,
    XCLIPConfig,
    XCLIPModel,
)

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
VISION = SIZES | {"image_size": 32, "patch_size": 16}


def write_backbones(directory: Path) -> dict[str, str]:
    """Save every network that `--backbone` takes; return their paths by name."""
    torch.manual_seed(0)
    ViTModel(ViTConfig(**VISION)).save_pretrained(directory / "dino")
    Dinov2Model(Dinov2Config(**VISION)).save_pretrained(directory / "dinov2")
    text = SIZES | {"vocab_size": 16, "eos_token_id": 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)).save_pretrained(directory / "clip")
    _write_aesthetic(directory / "aesthetic")
    _write_video(directory / "video")
    _write_detector(directory / "detector")
    _write_sam(directory / "sam")
    return {path.name: str(path) for path in directory.iterdir()}


def _write_aesthetic(directory: Path) -> None:
    """Save CLIP with a linear head, under the name of the architecture that the hub's files have."""
    CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=8)).save_pretrained(directory)
    weights = load_file(directory / "model.safetensors")
    head = {"predictor.weight": torch.ones(1, 8), "predictor.bias": torch.full((1,), 5.0)}
    save_file(weights | head, directory / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    own = {"model_type": "aesthetics_predictor", "architectures": ["AestheticsPredictorV1"]}
    (directory / "config.json").write_text(json.dumps(config | own))


def _write_detector(directory: Path) -> None:
    """Save a detector that takes everything for a person, with a box at the lower right."""
    stages: dict[str, Any] = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "layer_type": "basic"}
    widths: dict[str, Any] = {"encoder_in_channels": [8] * 3, "decoder_in_channels": [16] * 3}
    config = RTDetrConfig(
        backbone_config=RTDetrResNetConfig(embedding_size=8, out_features=["stage2", "stage3", "stage4"], **stages),
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=4,
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label={0: "person", 1: "chair"},
        label2id={"person": 0, "chair": 1},
        **widths,
    )
    network = RTDetrForObjectDetection(config)
    torch.nn.init.constant_(network.model.decoder.class_embed[0].bias[:1], 5.0)
    network.save_pretrained(directory)


def _write_sam(directory: Path) -> None:
    """Save a SAM for pictures of 64 pixels."""
    vision: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 16}
    patches = {"image_size": 64, "patch_size": 16}
    config = SamConfig(
        vision_config=vision
        | patches
        | {"output_channels": 8, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 4},
        prompt_encoder_config=patches | {"hidden_size": 8, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 8, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    SamModel(config).save_pretrained(directory)


def _write_video(directory: Path) -> None:
    vision = VISION | {
        "num_frames": 4,
        "mit_hidden_size": 16,
        "mit_intermediate_size": 16,
        "mit_num_attention_heads": 2,
    }
    config = XCLIPConfig(
        text_config=SIZES | {"vocab_size": 16, "projection_dim": 16, "eos_token_id": 1},
        vision_config=vision,
        projection_dim=16,
        prompt_layers=1,
        prompt_num_attention_heads=2,
    )
    XCLIPModel(config).save_pretrained(directory)
    words = ["<pad>", "<end>", "<unk>", "A", "shot", "of", "the", "rabbit", "bikes", "phone", "The", "street"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    fast.save_pretrained(directory)
    assert json.loads((directory / "tokenizer_config.json").read_text())
