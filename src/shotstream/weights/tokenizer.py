"""Read published tokenizers, and train small ones (pad 0, end 1, unknown 2, as in UMT5)."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from shotstream.core.errors import InputError
from shotstream.weights.sentencepiece_files import END_TOKEN, read_sentencepiece

SPECIAL_TOKENS = ("<pad>", END_TOKEN, "<unk>")


def read_tokenizer(directory: Path) -> Tokenizer:
    """Read the tokenizer of a directory: its `tokenizer.json`, or else its `spiece.model`.

    Raises:
        InputError: neither is there, or it cannot be read.
    """
    for name, read in (("tokenizer.json", _read_json), ("spiece.model", read_sentencepiece)):
        path = directory / name
        if path.is_file():
            try:
                return read(path)
            except InputError:
                raise
            except Exception as error:  # tokenizers raises bare Exception
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise InputError(f"{path}: expected a tokenizer, got '{reason}'; fetch the file anew") from error
    raise InputError(f"{directory}: expected tokenizer.json or spiece.model, found neither; copy one of them there")


def train_tokenizer(captions: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer on captions: common words become one token, and any text can be encoded.

    The vocabulary is smaller than `vocab_size` if the captions give no more merges.

    Raises:
        InputError: `vocab_size` is too small for the 256 bytes and the special tokens.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab_size < len(alphabet) + len(SPECIAL_TOKENS):
        floor = len(alphabet) + len(SPECIAL_TOKENS)
        raise InputError(f"expected a vocabulary of at least {floor} tokens, got {vocab_size}; raise vocab_size")
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[2]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    end = (END_TOKEN, tokenizer.token_to_id(END_TOKEN))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END_TOKEN}", special_tokens=[end])
    return tokenizer


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer of single bytes (259 tokens), which encodes any text without training."""
    return train_tokenizer((), len(SPECIAL_TOKENS) + len(pre_tokenizers.ByteLevel.alphabet()))


def _read_json(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))
