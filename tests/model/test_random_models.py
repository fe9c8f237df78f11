"""Models drawn at random: density and memberships are those of the generator's own sums."""

import warnings

import numpy as np
import pytest

from tests.random_checks import NUM_DRAWS, differences
from tests.random_models import random_model

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SEEDS = range(1_000, 1_050)


def compare(seed, distort=0.0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = random_model(seed)
    values = drawn.draw(NUM_DRAWS, np.random.default_rng(seed))
    if distort:
        table = drawn.table
        drawn.table = lambda at: table(at) + distort * np.arange(table(at).shape[-1])
    return drawn, differences(drawn, values)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_model(seed):
    drawn, found = compare(seed)
    assert max(found.values()) < 1e-8, (drawn.description, found)


def test_a_wrong_component_is_seen():
    _, found = compare(SEEDS[0], distort=1e-4)
    assert found["likelihood"] > 1e-8
    assert found["memberships"] > 1e-8
