"""The text encoder (UMT5): captions to the embeddings that the transformer attends to (reference section 5)."""

import html
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.model.config import TextEncoderConfig
from shotstream.model.names import text_to_original, text_to_transformers

MAX_DISTANCE_TOKENS = 128
"""Tokens further apart than this share one position bias for each direction."""


def clean(text: str) -> str:
    """Clean a caption for the tokenizer: repair mojibake, unescape HTML twice, collapse white space."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


class TextEncoder(nn.Module):
    """UMT5's encoder, by transformers, with its tokenizer.

    Every layer has its own relative position bias. Each caption is encoded alone, so that its embedding does not depend
    on other captions. Its state dict has Wan's original names.

    Args:
        tokenizer: None where only ready token ids will be encoded. Its truncation is set to `config.text_len`.
    """

    def __init__(self, config: TextEncoderConfig, tokenizer: Tokenizer | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.encoder = _build_encoder(config)
        self.register_state_dict_post_hook(_names_to_original)
        self.register_load_state_dict_pre_hook(_names_to_transformers)
        if tokenizer is not None:
            tokenizer.no_padding()
            tokenizer.enable_truncation(config.text_len)

    def forward(self, ids: Int[Tensor, "s l"], mask: Int[Tensor, "s l"]) -> Float[Tensor, "s l d"]:
        """Embed token ids, with gradient. Tokens where `mask` is 0 are not attended to, and their rows are zero."""
        rows = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return rows * mask.unsqueeze(-1).to(rows.dtype)

    @torch.no_grad()
    def encode_ids(self, ids: Int[Tensor, "s l"], mask: Int[Tensor, "s l"]) -> Float[Tensor, "s l d"]:
        """Embed token ids as `forward` does, without gradient."""
        return self(ids, mask)

    def encode(self, captions: Sequence[str]) -> Float[Tensor, "s l d"]:
        """Embed captions, in the dtype and on the device of the weights; l is `text_len`, with zeros after the end.

        A longer caption is cut; `lost` says what is not read.

        Raises:
            InputError: the encoder was built without a tokenizer.
        """
        weight = next(self.parameters())
        rows = weight.new_zeros(len(captions), self.config.text_len, self.config.dim)
        for row, caption in zip(rows, captions, strict=True):
            ids = torch.tensor([self._encoding(clean(caption)).ids], device=weight.device)
            row[: ids.shape[1]] = self.encode_ids(ids, torch.ones_like(ids))[0]
        return rows

    def tokenize(self, captions: Sequence[str]) -> tuple[Int[Tensor, "s l"], Int[Tensor, "s l"]]:
        """Tokenize captions: ids, cleaned, cut and zero-padded to `text_len`, and their mask, on the CPU.

        Raises:
            InputError: the encoder was built without a tokenizer.
        """
        ids = torch.zeros(len(captions), self.config.text_len, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, caption in enumerate(captions):
            tokens = self._encoding(clean(caption)).ids
            ids[index, : len(tokens)] = torch.tensor(tokens)
            mask[index, : len(tokens)] = 1
        return ids, mask

    def lost(self, caption: str) -> str:
        """Return the end of a caption that is cut off, from a whole word on; empty if all of it fits.

        Raises:
            InputError: the encoder was built without a tokenizer.
        """
        text = clean(caption)
        encoding = self._encoding(text)
        if not encoding.overflowing:
            return ""
        words = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        end = max((stop for (_, stop), special in words if not special), default=0)
        whole = end == len(text) or text[end] == " "
        kept = text[:end] if whole else text[:end].rpartition(" ")[0]
        return text[len(kept) :].strip()

    def count_tokens(self, caption: str) -> int:
        """Return how many tokens a caption has, with those that are cut off and the end of the sequence.

        Raises:
            InputError: the encoder was built without a tokenizer.
        """
        encoding = self._encoding(clean(caption))
        cut = sum(len(piece.ids) - sum(piece.special_tokens_mask) for piece in encoding.overflowing)
        return len(encoding.ids) + cut

    def token_spans(self, pieces: Sequence[str]) -> list[slice]:
        """Return which tokens of the caption that these pieces make, joined, belong to each of them.

        A token that reaches from one piece into the next belongs to the first of the two.

        Raises:
            InputError: the caption is longer than `text_len`, so that a piece is cut off.
        """
        ends = [len(clean("".join(pieces[:count]) + "|")) - 1 for count in range(1, len(pieces) + 1)]
        encoding = self._encoding(clean("".join(pieces)))
        owners = [bisect_right(ends, start) for start, stop in encoding.offsets if start < stop]
        if encoding.overflowing or len(set(owners)) < len(pieces):
            raise InputError(
                f"expected a prompt of at most {self.config.text_len} tokens for all shots together; shorten captions"
            )
        starts = [*(owners.index(piece) for piece in range(len(pieces))), len(owners)]
        return [slice(start, stop) for start, stop in pairwise(starts)]

    def _encoding(self, text: str) -> Encoding:
        if self.tokenizer is None:
            raise InputError("this text encoder has no tokenizer; expected tokenizer.json beside its weights")
        return self.tokenizer.encode(text)


def trim_padding(ids: Int[Tensor, "s l"], mask: Int[Tensor, "s l"]) -> tuple[Int[Tensor, "s m"], Int[Tensor, "s m"]]:
    """Cut off the columns of ids and mask that are padding in every row."""
    longest = int(mask.sum(1).max())
    return ids[:, :longest], mask[:, :longest]


def _names_to_original(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
    _rename_under(prefix, state, text_to_original)


def _names_to_transformers(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    _rename_under(prefix, state, text_to_transformers)


def _rename_under(prefix: str, state: dict[str, Any], rename: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    own = {name[len(prefix) :]: state.pop(name) for name in list(state) if name.startswith(prefix)}
    state.update({prefix + name: value for name, value in rename(own).items()})


def _build_encoder(config: TextEncoderConfig) -> nn.Module:
    from transformers import UMT5Config, UMT5EncoderModel

    settings: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "d_model": config.dim,
        "d_kv": config.attention_dim // config.num_heads,
        "d_ff": config.ffn_dim,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "relative_attention_num_buckets": config.num_buckets,
        "relative_attention_max_distance": MAX_DISTANCE_TOKENS,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "use_cache": False,
        "attn_implementation": "eager",
    }
    # The model ties its embedding to its encoder's; the encoder alone has each weight once.
    return UMT5EncoderModel(UMT5Config(**settings)).encoder
