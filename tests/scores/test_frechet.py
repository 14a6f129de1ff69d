"""Fréchet distance of known distributions, and of StoryWorld's shots."""

import numpy as np
import pytest

from shotstream.scores.frechet import Frechet, frechet_distance, shot_features
from shotstream.scores.story_scores import held_out_stories
from shotstream.world.render import render_story
from shotstream.world.trait_reader import TraitReader

RNG = np.random.default_rng(5)


def test_the_same_features_have_no_distance_and_a_shift_its_square() -> None:
    features = RNG.normal(size=(200, 6))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + 2) == pytest.approx(6 * 4)


def test_other_spreads_have_the_distance_of_normal_distributions() -> None:
    one = RNG.normal(size=(400, 3))
    one = (one - one.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(one, rowvar=False))).T
    assert frechet_distance(one, one * [1, 2, 3]) == pytest.approx(0 + 1 + 4), "sum of squared differences of spreads"


def test_fewer_shots_than_features_have_a_distance() -> None:
    assert frechet_distance(RNG.normal(size=(4, 30)), RNG.normal(size=(5, 30))) > 0


def test_grey_shots_are_further_from_true_renders_than_others_are() -> None:
    reader = TraitReader.load()
    true, others = ([list(render_story(story)) for story in held_out_stories(4, first=at, shots=2)] for at in (0, 4))
    grey = [[np.full_like(shot, 128) for shot in shots] for shots in true]
    features = [shot_features(reader, stories) for stories in (grey, true, others)]
    assert features[0].shape == (8, 96)
    found = Frechet.of(*features)
    assert found.distance > 1.5 * found.other_stories > 0
    assert found.shots == 8
