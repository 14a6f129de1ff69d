"""Read every trait of a shot from its frames with a small network, and compare them with the ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import TEMPORAL_STRIDE
from shotstream.world.framing import HEIGHT, WIDTH
from shotstream.world.render import visible_slots
from shotstream.world.scene import Character, WorldStory
from shotstream.world.trait_reader_network import (
    ALL_LANDMARKS,
    CLIP_OFFSETS,
    MAP_HEIGHT,
    MAP_STRIDE,
    MAP_WIDTH,
    READER_FRAMES,
    TraitReaderNetwork,
    pixels_of_clips,
)
from shotstream.world.traits import (
    ACCESSORIES,
    ACTIONS,
    CAMERAS,
    COLOURS,
    FRAMINGS,
    PATTERNS,
    PLACES,
    SLOTS,
    SPECIES,
    TIMES,
)

WEIGHTS_NAME = "trait_reader.safetensors"
MAX_CLIPS = 4
SHOT_VALUES: dict[str, tuple[str, ...]] = {
    "place": PLACES,
    "time": TIMES,
    "framing": FRAMINGS,
    "camera": CAMERAS,
    "action": ACTIONS,
}
CHARACTER_VALUES: dict[str, tuple[str, ...]] = {"colour": COLOURS, "accessory": ACCESSORIES, "pattern": PATTERNS}


@dataclass(frozen=True)
class TraitValue:
    """The likeliest value of a trait and its probability."""

    value: str
    confidence: float


@dataclass(frozen=True)
class CharacterReading:
    """A character that is there: `confidence` is the probability that it is."""

    species: str
    confidence: float
    colour: TraitValue
    accessory: TraitValue
    pattern: TraitValue


@dataclass(frozen=True)
class ShotReading:
    """The traits read from one shot. `characters` are present, most confident first; `layout` is left to right."""

    characters: tuple[CharacterReading, ...]
    place: TraitValue
    time: TraitValue
    framing: TraitValue
    camera: TraitValue
    action: TraitValue
    layout: tuple[TraitValue, ...]

    def of_species(self, species: str) -> CharacterReading | None:
        """Return the character of a species, if it is present."""
        return next((one for one in self.characters if one.species == species), None)


class TraitReader:
    """Reads shots. Make one with `TraitReader.load`."""

    def __init__(self, network: TraitReaderNetwork, device: torch.device | str = "cpu") -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = torch.device(device)

    @classmethod
    def load(cls, device: torch.device | str = "cpu", path: str | Path | None = None) -> "TraitReader":
        """Load a trait reader; `path` None takes the weights of the package.

        Raises:
            InputError: there is no such file, or it holds something else.
        """
        with resources.as_file(resources.files("shotstream.world") / WEIGHTS_NAME) as own:
            source = own if path is None else Path(path)
            if not source.is_file():
                raise InputError(
                    f"expected the trait reader's weights at {source}; make them: 'shotstream world train-trait-reader'"
                )
            try:
                weights = load_file(source)
            except SafetensorError as error:
                raise InputError(
                    f"expected the trait reader's weights in {source}, got no safetensors: {error}"
                ) from error
        network = TraitReaderNetwork()
        expected = {name: value.shape for name, value in network.state_dict().items()}
        if expected != {name: value.shape for name, value in weights.items()}:
            raise InputError(
                f"expected the trait reader's weights in {source}, got other tensors; train the trait reader again"
            )
        network.load_state_dict(weights)
        return cls(network, device)

    def read(self, frames: NDArray[np.uint8]) -> ShotReading:
        """Read every trait of one shot from its frames `[n, 80, 128, 3]`, n >= 9, as the mean over up to four clips.

        Raises:
            InputError: too few frames, or of another size or kind.
        """
        _check_frames(frames)
        return _reading(self._look(frames, clip_starts(len(frames))))

    def summarise(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's features of one shot, `[96]`, as the mean over the clips that `read` takes.

        Raises:
            InputError: too few frames, or of another size or kind.
        """
        _check_frames(frames)
        return self._look(frames, clip_starts(len(frames)))["summary"].mean(0).cpu().numpy()

    def map_features(self, frames: NDArray[np.uint8]) -> Float[Tensor, "t 96 10 16"]:
        """Return the network's map of features around each latent of a shot, frames `[4n + 1, 80, 128, 3]`, n >= 2.

        A latent stands for four frames, the first latent for one. Its map is computed from nine frames of the shot
        around these four; at the ends of the shot, from its first or last nine.

        Raises:
            InputError: too few frames, or of another size or kind.
        """
        _check_frames(frames)
        ends = range(0, len(frames), TEMPORAL_STRIDE)
        last = len(frames) - READER_FRAMES
        starts = [min(max(0, end - TEMPORAL_STRIDE // 2 - READER_FRAMES // 2), last) for end in ends]
        return self._look(frames, starts)["map"].cpu()

    def head_columns(self, frames: NDArray[np.uint8], middles: Sequence[int]) -> NDArray[np.float32]:
        """Return the column of each species' head in pixels, `[len(middles), species]`, in the order of `SPECIES`.

        It means nothing for a species that is not there. True renders are read to two pixels in the mean.

        Args:
            frames: of one shot, as for `read`.
            middles: which frames; each has four others of the shot before it and after it, which are read too.

        Raises:
            InputError: too few frames, or of another size or kind.
        """
        _check_frames(frames)
        looked = self._look(frames, [middle - READER_FRAMES // 2 for middle in middles])["where"].softmax(-1)
        columns = looked.unflatten(-1, (MAP_HEIGHT, MAP_WIDTH)).sum(-2).cpu().numpy()
        return columns @ (MAP_STRIDE * (np.arange(MAP_WIDTH, dtype=np.float32) + 0.5))

    def _look(self, frames: NDArray[np.uint8], starts: Sequence[int]) -> dict[str, Tensor]:
        """Return the network's logits for the clips that begin at `starts`."""
        clips = np.stack([frames[[start + offset for offset in CLIP_OFFSETS]] for start in starts])
        with torch.inference_mode():
            logits: dict[str, Tensor] = self.network(pixels_of_clips(torch.from_numpy(clips).to(self.device)))
        return logits


def _check_frames(frames: NDArray[np.uint8]) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (HEIGHT, WIDTH, 3):
        raise InputError(f"expected uint8 frames [n, {HEIGHT}, {WIDTH}, 3], got {frames.dtype} {frames.shape}")
    if len(frames) < READER_FRAMES:
        raise InputError(f"expected at least {READER_FRAMES} frames of a shot, got {len(frames)}")


def clip_starts(frames: int) -> list[int]:
    """Return the first frames of the clips that a shot is read from: evenly spread, no more than four."""
    last = frames - READER_FRAMES
    return np.linspace(0, last, min(MAX_CLIPS, 1 + last // (READER_FRAMES - 1))).round().astype(int).tolist()


def _reading(logits: Mapping[str, Tensor]) -> ShotReading:
    present = logits["present"].sigmoid().mean(0).cpu().numpy()
    chances = {
        name: value.softmax(-1).mean(0).cpu().numpy()
        for name, value in logits.items()
        if name not in ("present", "where", "map")
    }
    characters = [
        CharacterReading(
            species=SPECIES[index],
            confidence=float(present[index]),
            **{trait: _likeliest(values, chances[trait][index]) for trait, values in CHARACTER_VALUES.items()},
        )
        for index in np.argsort(-present)
        if present[index] > 0.5
    ]
    return ShotReading(
        characters=tuple(characters),
        layout=tuple(_likeliest(ALL_LANDMARKS, chance) for chance in chances["layout"]),
        **{trait: _likeliest(values, chances[trait]) for trait, values in SHOT_VALUES.items()},
    )


def _likeliest(values: Sequence[str], chances: NDArray[np.float32]) -> TraitValue:
    best = int(chances.argmax())
    return TraitValue(values[best], float(chances[best]))


def score_shot(reading: ShotReading, story: WorldStory, shot_index: int) -> dict[str, bool]:
    """Tell which traits of a shot match the ground truth.

    `species`: exactly the wanted characters are there. `colour`, `accessory`, `pattern`: right for every wanted
    character. `layout`: right in every slot that the shot shows; left out where it shows none.
    """
    shot, cast = story.shots[shot_index], story.cast_of(shot_index)
    scores = {
        "species": {one.species for one in reading.characters} == {one.species for one in cast},
        "place": reading.place.value == story.place,
        "time": reading.time.value == story.time,
        "framing": reading.framing.value == shot.framing,
        "camera": reading.camera.value == shot.camera,
        "action": reading.action.value == shot.action,
    }
    for trait in CHARACTER_VALUES:
        scores[trait] = all(_has(reading, one, trait) for one in cast)
    seen = visible_slots(story, shot_index)
    if any(seen):
        rows = zip(reading.layout, story.layout, seen, strict=True)
        scores["layout"] = all(read.value == landmark for read, landmark, visible in rows if visible)
    return scores


@dataclass(frozen=True)
class MemoryAnswer:
    """One answer of the memory test: does a shot show a hidden trait as an earlier shot first showed it?

    `distance` counts shots since the trait was last seen: 1 is the shot before.
    """

    shot: int
    trait: str
    distance: int
    right: bool


def read_memory(readings: Sequence[ShotReading], story: WorldStory) -> list[MemoryAnswer]:
    """Return an answer for every hidden trait of every shot that an earlier shot has shown.

    A made video may give the fox any hat, but must then keep it. So the ground truth only says who is in a shot and
    which slots it shows.

    Args:
        readings: what each shot of the story shows, in order.
        story: the ground truth.
    """
    first: dict[tuple[str, str], str] = {}
    last_seen: dict[tuple[str, str], int] = {}
    answers = []
    for shot, reading in enumerate(readings):
        for key, value in _hidden_traits(reading, story, shot).items():
            if key in first:
                answers.append(MemoryAnswer(shot, key[0], shot - last_seen[key], value == first[key]))
            if value is not None:
                first.setdefault(key, value)
                last_seen[key] = shot
    return answers


def score_memory(readings: Sequence[ShotReading], story: WorldStory) -> list[dict[str, bool]]:
    """Tell for each shot which kinds of hidden traits it keeps; one that shows nothing seen before has no answer."""
    scores: list[dict[str, bool]] = [{} for _ in readings]
    for answer in read_memory(readings, story):
        kept = scores[answer.shot]
        kept[answer.trait] = kept.get(answer.trait, True) and answer.right
    return scores


def _hidden_traits(reading: ShotReading, story: WorldStory, shot_index: int) -> dict[tuple[str, str], str | None]:
    """(trait, whose) -> value as read; None where a wanted character is not there."""
    shown: dict[tuple[str, str], str | None] = {}
    for one in story.cast_of(shot_index):
        found = reading.of_species(one.species)
        shown["accessory", one.species] = found.accessory.value if found else None
        shown["pattern", one.species] = found.pattern.value if found else None
    for slot, read, visible in zip(SLOTS, reading.layout, visible_slots(story, shot_index), strict=True):
        if visible:
            shown["layout", slot] = read.value
    return shown


def _has(reading: ShotReading, wanted: Character, trait: str) -> bool:
    found = reading.of_species(wanted.species)
    return found is not None and getattr(found, trait).value == getattr(wanted, trait)
