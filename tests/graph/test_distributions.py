"""Distributions of single numbers against PyMC's own draws, with parameters for each data set."""

import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

from pymc_amortized.graph.backend import BatchedGraph
from tests.graph.draws import NUM_DRAWS, SCALAR, batched_draws, pymc_draws
from tests.two_sample import LEVEL, smallest_p_value

pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.mark.parametrize("name", SCALAR)
def test_scalar_distribution(name):
    dist, parameters = SCALAR[name]
    drawn = batched_draws(dist, parameters)
    constants = [pt.constant(p) for p in parameters]
    reference = pymc_draws(dist(*constants, shape=NUM_DRAWS))
    p_value, where = smallest_p_value({name: drawn}, {name: reference})
    assert p_value > LEVEL, f"{where}: {p_value:.2g}"


def test_a_planted_fault_is_seen():
    """A scale that is 8 % too small."""
    dist, parameters = SCALAR["Normal"]
    drawn = batched_draws(dist, parameters)
    reference = pymc_draws(pm.Normal.dist(1.0, 2.0 * 1.08, shape=NUM_DRAWS))
    p_value, _ = smallest_p_value({"y": drawn}, {"y": reference})
    assert p_value < LEVEL


def test_far_tail_of_the_truncated_normal():
    variable = pm.TruncatedNormal.dist(0, 1, lower=12.0, upper=13.0)
    generator = torch.Generator().manual_seed(5)
    [drawn] = BatchedGraph([], [variable])([], batch=20_000, generator=generator)
    assert bool(((drawn >= 12) & (drawn <= 13)).all())
    assert abs(float(drawn.mean()) - 12.0822) < 0.003


def test_categorical_never_leaves_its_support():
    probabilities = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64).expand(1000, 3)
    p = pt.dvector()
    for shape in ((50,), (50, 1)):
        variable = pm.Categorical.dist(p, shape=shape)
        generator = torch.Generator().manual_seed(5)
        [drawn] = BatchedGraph([p], [variable])([probabilities], generator=generator)
        assert drawn.shape == (1000, *shape)
        assert bool((drawn == 1).all())
