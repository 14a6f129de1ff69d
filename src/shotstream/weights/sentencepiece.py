"""SentencePiece's `spiece.model`, read as the tokenizer it describes, without its library."""

import struct
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

END_TOKEN = "</s>"
SPACE = "▁"
UNIGRAM, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3

Fields = dict[int, list[int | bytes]]
"""What a protobuf message holds, by field number; 4-byte and longer values as bytes."""


def read_sentencepiece(path: Path) -> Tokenizer:
    """The unigram tokenizer in a SentencePiece model, with the end token after every text, as T5 has it.

    Raises:
        ValueError: the file is no such model.
    """
    message = _parse(path.read_bytes())
    pieces = [_parse(_bytes(piece)) for piece in message.get(_PIECES, [])]
    trainer = _parse(_bytes(*message.get(_TRAINER, [b""])))
    if not pieces or trainer.get(3, [UNIGRAM]) != [UNIGRAM]:
        raise ValueError("no SentencePiece unigram model")
    kinds = [piece.get(3, [UNIGRAM])[0] for piece in pieces]
    vocabulary = [(_bytes(*piece[1]).decode(), struct.unpack("<f", _bytes(*piece[2]))[0]) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=kinds.index(UNKNOWN), byte_fallback=BYTE in kinds))
    tokenizer.normalizer = _normalizer(_parse(_bytes(*message.get(_NORMALIZER, [b""]))))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    end = (END_TOKEN, tokenizer.token_to_id(END_TOKEN))
    tokenizer.add_special_tokens([name for (name, _), kind in zip(vocabulary, kinds, strict=True) if kind == CONTROL])
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END_TOKEN}", special_tokens=[end])
    return tokenizer


def _normalizer(message: Fields) -> normalizers.Normalizer:
    """What is done to text first: SentencePiece's own table of characters, if any, and runs of spaces made one."""
    spaces = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), " ")]
    table = _bytes(*message.get(2, [b""]))
    return normalizers.Sequence([*([normalizers.Precompiled(table)] if table else []), *spaces])


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _parse(data: bytes) -> Fields:
    fields: Fields = {}
    for number, value in _fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) pairs of a protobuf message."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if number == 0 or place + size > len(data):
            raise ValueError("the file ends too early, or is of another format")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("the file ends too early, or is of another format")
