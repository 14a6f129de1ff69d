"""The text encoder against the reference, and what it does with captions."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentencepiece import sentencepiece_model_pb2

from shotstream.core.errors import InputError
from shotstream.model.config import TextEncoderConfig
from shotstream.model.text_encoder import TextEncoder, clean
from shotstream.weights.tokenizer import byte_tokenizer, read_tokenizer, train_tokenizer

GOLDEN = Path(__file__).parent.parent / "golden" / "umt5"
SMALL = TextEncoderConfig(
    vocab_size=300, dim=32, attention_dim=32, ffn_dim=48, num_heads=4, num_layers=2, num_buckets=32, text_len=24
)
CAPTIONS = ["A red fox walks left.", "A red fox sleeps.", "A blue owl walks right."]


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(SMALL, train_tokenizer(CAPTIONS, 290)).eval()


def golden_encoder() -> TextEncoder:
    said = json.loads((GOLDEN / "config.json").read_text())
    config = TextEncoderConfig(
        vocab_size=said["vocab"],
        dim=said["dim"],
        attention_dim=said["dim_attn"],
        ffn_dim=said["dim_ffn"],
        num_heads=said["num_heads"],
        num_layers=said["num_layers"],
        num_buckets=said["num_buckets"],
        text_len=24,
    )
    encoder = TextEncoder(config).eval()
    encoder.load_state_dict(load_file(GOLDEN / "weights.safetensors"))
    return encoder


def test_rows_after_the_end_of_a_caption_are_zero() -> None:
    cases = load_file(GOLDEN / "cases.safetensors")
    rows = golden_encoder().encode_ids(cases["ids"], cases["mask"])
    assert rows[cases["mask"] == 1].any()
    assert not rows[cases["mask"] == 0].any()


def test_its_state_dict_has_the_original_names_wherever_it_is_nested() -> None:
    weights = load_file(GOLDEN / "weights.safetensors")
    holder = torch.nn.ModuleDict({"text": golden_encoder(), "other": torch.nn.Linear(2, 2)})
    state = holder.state_dict()
    assert state.keys() == {*(f"text.{name}" for name in weights), "other.weight", "other.bias"}
    holder["text"].encoder.final_layer_norm.weight.data.zero_()
    holder.load_state_dict(state)
    assert torch.equal(holder.state_dict()["text.norm.weight"], state["text.norm.weight"])


def test_a_row_is_zero_after_the_caption_ends_and_rows_fill_the_length(encoder: TextEncoder) -> None:
    rows = encoder.encode(CAPTIONS)
    _, mask = encoder.tokenize(CAPTIONS)
    assert rows.shape == (3, 24, 32)
    assert not rows.requires_grad
    assert (rows.abs().sum(-1) > 0).equal(mask.bool())


def test_a_caption_has_the_same_rows_whatever_it_is_encoded_beside(encoder: TextEncoder) -> None:
    assert encoder.encode(CAPTIONS)[1].equal(encoder.encode(CAPTIONS[1:2])[0])


def test_encoding_captions_is_encoding_their_tokens(encoder: TextEncoder) -> None:
    torch.testing.assert_close(encoder.encode(CAPTIONS), encoder.encode_ids(*encoder.tokenize(CAPTIONS)))


def test_training_reaches_every_weight(encoder: TextEncoder) -> None:
    encoder(*encoder.tokenize(CAPTIONS)).square().mean().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []


def test_a_long_caption_is_cut_and_the_report_says_what_was_lost(encoder: TextEncoder) -> None:
    caption = "A red fox walks left. " * 6
    lost = encoder.lost(caption)
    ids, mask = encoder.tokenize([caption])
    assert mask.all()
    assert ids[0, -1] == 1, "the end token is kept"
    assert 0 < len(lost.split()) < 30
    assert clean(caption).endswith(lost)
    kept = clean(caption).removesuffix(lost)
    assert not encoder.lost(kept)
    assert encoder.lost(kept + lost.split()[0])


def test_a_word_cut_in_the_middle_counts_as_lost() -> None:
    encoder = TextEncoder(SMALL, byte_tokenizer())
    assert encoder.lost("one two three four extraordinary") == "extraordinary"


def test_a_caption_that_fits_loses_nothing(encoder: TextEncoder) -> None:
    assert encoder.lost("A  red\nfox") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a\t fox \n runs ", "a fox runs"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("caf\u00c3\u00a9", "caf\u00e9"),
        ("", ""),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_without_a_tokenizer_captions_are_refused() -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        TextEncoder(SMALL).encode(["a"])


def test_any_text_has_tokens_and_comes_back() -> None:
    text = "Лиса 狐 🦊 naïve"
    assert byte_tokenizer().decode(byte_tokenizer().encode(text).ids).strip() == text


def test_common_words_are_one_token() -> None:
    assert train_tokenizer(CAPTIONS * 4, 400).encode("fox walks").tokens == ["Ġfox", "Ġwalks", "</s>"]


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="at least 259 tokens, got 100"):
        train_tokenizer(CAPTIONS, 100)


def test_a_tokenizer_is_read_from_its_directory(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CAPTIONS, 290)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path).encode(CAPTIONS[0]).ids == tokenizer.encode(CAPTIONS[0]).ids


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
def test_a_damaged_tokenizer_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"version":')
    with pytest.raises(InputError, match="expected a tokenizer") as error:
        read_tokenizer(tmp_path)
    assert "\n" not in str(error.value)


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found neither"):
        read_tokenizer(tmp_path)


def write_sentencepiece(path: Path, pieces: list[tuple[str, float, int]], model_type: int = 1) -> None:
    """A SentencePiece model of pieces (text, score, type); model type 1 is unigram, 2 is BPE."""
    model = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in pieces:
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = model_type
    path.write_bytes(model.SerializeToString())


def test_a_sentencepiece_model_is_read(tmp_path: Path) -> None:
    special = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2)]
    scores = {"▁": -9.0, "▁a": -2.0, "▁fox": -3.0, "▁f": -2.0, "ox": -2.5, "es": -4.0, "f": -9.0}
    write_sentencepiece(tmp_path / "spiece.model", special + [(text, score, 1) for text, score in scores.items()])
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.encode("a fox  foxes").tokens == ["▁a", "▁fox", "▁fox", "es", "</s>"]
    assert tokenizer.encode("q").ids == [3, 2, 1]
    assert tokenizer.decode(tokenizer.encode("a foxes").ids) == "a foxes"


def test_a_sentencepiece_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_sentencepiece(tmp_path / "spiece.model", [("<unk>", 0.0, 2)], model_type=2)
    with pytest.raises(InputError, match="no SentencePiece unigram model"):
        read_tokenizer(tmp_path)


def test_a_sentencepiece_model_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spiece.model").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match=r"needs the package 'sentencepiece'; run pip install 'shotstream\[sentencep"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("text_len", [30, 29, 7])
def test_tokens_are_counted_beyond_those_that_are_read(text_len: int) -> None:
    encoder = TextEncoder(dataclasses.replace(SMALL, text_len=text_len), byte_tokenizer())
    assert encoder.count_tokens("[all] a  fox. [one] in a wood") == 30


@pytest.mark.parametrize("text_len", [30, 29])
def test_the_tokens_of_the_pieces_of_a_prompt_are_found_or_it_is_too_long(text_len: int) -> None:
    encoder = TextEncoder(dataclasses.replace(SMALL, text_len=text_len), byte_tokenizer())
    pieces = ["[all] a  fox. ", "[one] in", " a wood"]
    if text_len == 30:  # a space in front, 28 bytes, and the end
        assert encoder.token_spans(pieces) == [slice(0, 14), slice(14, 22), slice(22, 29)]
    else:
        with pytest.raises(InputError, match="expected a prompt of at most 29 tokens for all shots together; shorten"):
            encoder.token_spans(pieces)
