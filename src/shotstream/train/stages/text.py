"""Stage `text`: train the embedded text encoder to classify StoryWorld's traits from captions.

Small attention heads over the encoder's output classify the traits, and are discarded afterwards: the information that
they found is what the transformer's cross-attention can find. The transformer does not know beforehand which characters
a caption names, so two heads attend to the first and to the second character of the shot, and classify its species and
colour together.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from shotstream.core.atomic_files import make_directory
from shotstream.core.rng import derive_seed
from shotstream.data.storyworld import TRAINING_SEEDS, compose_shot_caption
from shotstream.model.config import TextEncoderConfig
from shotstream.model.text_encoder import TextEncoder, trim_padding
from shotstream.train.config import TextTraining
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork
from shotstream.weights.tokenizer import read_tokenizer, train_tokenizer
from shotstream.world.scene import WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.traits import ACTIONS, CAMERAS, COLOURS, FRAMINGS, PLACES, SPECIES, TIMES

TOKENIZER_FILE = "tokenizer.json"
ENCODER = "encoder."
"""Prefix of the encoder's weights in the classifier's state."""
ABSENT = 0
"""Class of an absent character; species and colours count from 1."""
MOST_IN_A_SHOT = 2


def trait_targets(story: WorldStory, shot: int) -> list[int]:
    """Return the traits of a shot as class numbers, in the order of `QUERY_CLASSES`.

    They are place, time, framing, camera and action; for every species its colour in the story; for every species
    whether it is in the shot; then species and colour of the first character in the shot, and of the second.
    """
    scene = story.shots[shot]
    targets = [PLACES.index(story.place), TIMES.index(story.time), FRAMINGS.index(scene.framing)]
    targets += [CAMERAS.index(scene.camera), ACTIONS.index(scene.action)]
    colours = {one.species: COLOURS.index(one.colour) + 1 for one in story.characters}
    cast = story.cast_of(shot)
    seen = {one.species for one in cast}
    targets += [colours.get(kind, ABSENT) for kind in SPECIES]
    targets += [int(kind in seen) for kind in SPECIES]
    for one in cast:
        targets += [SPECIES.index(one.species) + 1, colours[one.species]]
    return targets + [ABSENT, ABSENT] * (MOST_IN_A_SHOT - len(cast))


QUERY_CLASSES = (
    *((size,) for size in (len(PLACES), len(TIMES), len(FRAMINGS), len(CAMERAS), len(ACTIONS))),
    *((len(COLOURS) + 1,),) * len(SPECIES),
    *((2,),) * len(SPECIES),
    *((len(SPECIES) + 1, len(COLOURS) + 1),) * MOST_IN_A_SHOT,
)
"""For every attention query, the number of classes of each trait that it classifies."""


class TraitClassifier(nn.Module):
    """Text encoder with attention queries over its output, and a linear classifier for each trait."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        dim = encoder.config.dim
        self.queries = nn.Parameter(torch.randn(len(QUERY_CLASSES), dim) * dim**-0.5)
        self.heads = nn.ModuleList(nn.Linear(dim, sum(sizes)) for sizes in QUERY_CLASSES)

    def forward(self, ids: Int[Tensor, "s l"], mask: Int[Tensor, "s l"]) -> list[Float[Tensor, "s classes"]]:
        """Return the logits of every trait."""
        rows = self.encoder(ids, mask)
        weights = (rows @ self.queries.T).masked_fill(mask[:, :, None] == 0, -torch.inf).softmax(1)
        read = torch.einsum("slq,sld->qsd", weights, rows)
        scores = (head(one).split(sizes, -1) for head, one, sizes in zip(self.heads, read, QUERY_CLASSES, strict=True))
        return [trait for of_query in scores for trait in of_query]


class TextStage(Stage):
    """Train a text encoder and its classifiers; the average covers both."""

    def __init__(self, encoder: TextEncoder, config: TextTraining) -> None:
        self._classifier, self._config = TraitClassifier(encoder).train(), config
        trained = TrainedNetwork(self._classifier, config.optimizer, config.loop.steps)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        number = step * self._config.loop.micro_batches + micro_batch
        return classification_loss(self._classifier, number, self._config.batch)


def sample_captions(seed: int, count: int) -> tuple[list[str], Int[Tensor, "s t"]]:
    """Draw composed captions of random shots, and their traits as class numbers."""
    rng = np.random.default_rng(derive_seed("captions", seed))
    captions, targets = [], []
    for _ in range(count):
        story = sample_story(int(rng.integers(TRAINING_SEEDS)))
        shot = int(rng.integers(len(story.shots)))
        captions.append(compose_shot_caption(story, shot, rng))
        targets.append(trait_targets(story, shot))
    return captions, torch.tensor(targets)


def classification_loss(classifier: TraitClassifier, seed: int, batch: int) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy over all traits of a batch of captions."""
    captions, targets = sample_captions(seed, batch)
    scores = classifier(*trim_padding(*classifier.encoder.tokenize(captions)))
    return torch.stack([F.cross_entropy(one, targets[:, i]) for i, one in enumerate(scores)]).mean()


def learn_tokenizer(directory: Path, shape: TextEncoderConfig, config: TextTraining) -> Tokenizer:
    """Read the tokenizer in `directory`, after training it on captions if there is none yet."""
    path = make_directory(directory) / TOKENIZER_FILE
    if not path.exists():
        train_tokenizer(sample_captions(0, config.tokenizer_captions)[0], shape.vocab_size).save(str(path))
    return read_tokenizer(directory)
