"""Every sampler against PyMC's own draws, with parameters that are given per data set."""

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.samplers import sampler
from tests.graph.draws import NUM_DRAWS, SCALAR, batched_draws, pymc_draws
from tests.two_sample import LEVEL, smallest_p_value

pytestmark = pytest.mark.usefixtures("interpreted")


COV = np.array([[1.0, 0.6], [0.6, 2.0]])


VECTOR = {
    "MvNormal": (lambda a, **k: pm.MvNormal.dist(pt.stack([a, -a]), COV, **k), (1.0,), (2,)),
    "MvStudentT": (
        lambda a, **k: pm.MvStudentT.dist(nu=5, mu=pt.stack([a, -a]), scale=COV, **k),
        (1.0,),
        (2,),
    ),
    "Dirichlet": (lambda a, **k: pm.Dirichlet.dist(pt.stack([a, 1.0, 2.0]), **k), (0.5,), (3,)),
    "Multinomial": (
        lambda p, **k: pm.Multinomial.dist(6, pt.stack([p, 0.5, 0.5 - p]), **k),
        (0.2,),
        (3,),
    ),
    "DirichletMultinomial": (
        lambda a, **k: pm.DirichletMultinomial.dist(5, pt.stack([a, 1.0, 2.0]), **k),
        (0.7,),
        (3,),
    ),
    "StickBreakingWeights": (
        lambda a, **k: pm.StickBreakingWeights.dist(a, K=3, **k),
        (1.5,),
        (4,),
    ),
    "ZeroSumNormal": (lambda s, **k: pm.ZeroSumNormal.dist(s, **k), (2.0,), (3,)),
    "GaussianRandomWalk": (
        lambda s, **k: pm.GaussianRandomWalk.dist(
            mu=0.3, sigma=s, init_dist=pm.Normal.dist(0, 1), steps=3, **k
        ),
        (2.0,),
        (4,),
    ),
    "AR": (
        lambda r, **k: pm.AR.dist(
            pt.stack([r]), sigma=0.5, init_dist=pm.Normal.dist(0, 1), steps=3, **k
        ),
        (0.7,),
        (4,),
    ),
}


@pytest.mark.parametrize("name", VECTOR)
def test_vector_distribution(name):
    dist, parameters, event = VECTOR[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = batched_draws(dist, parameters, shape=event)
        constants = [pt.constant(p) for p in parameters]
        reference = pymc_draws(dist(*constants, shape=(NUM_DRAWS, *event)))
    p_value, where = smallest_p_value({name: drawn}, {name: reference})
    assert p_value > LEVEL, f"{where}: {p_value:.2g}"


def test_matrix_distributions():
    factor = np.linalg.cholesky(COV)
    variables = {
        "MatrixNormal": pm.MatrixNormal.dist(np.zeros((2, 2)), rowchol=factor, colchol=factor),
        "Wishart": None,
        "LKJCorr": pm.LKJCorr.dist(n=3, eta=1.5),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variables["Wishart"] = pm.Wishart.dist(nu=5, V=COV)
    for name, variable in variables.items():
        generator = torch.Generator().manual_seed(5)
        [drawn] = BatchedGraph([], [variable])([], batch=4_000, generator=generator)
        reference = pymc_draws(variable, draws=4_000)
        p_value, where = smallest_p_value({name: drawn.numpy()}, {name: reference})
        assert p_value > LEVEL, f"{where}: {p_value:.2g}"


def test_there_are_many_samplers():
    assert len(SCALAR) + len(VECTOR) + 3 >= 35


def test_no_sampler_is_said_by_name():
    with pytest.raises(UnconvertibleOpError, match="hypergeometric"):
        sampler(pm.HyperGeometric.dist(20, 7, 12).owner.op)
