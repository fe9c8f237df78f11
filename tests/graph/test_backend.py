"""Where graphs run: in torch, or in PyTensor where torch cannot."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from pymc_amortized.errors import BackendFallbackWarning, UnsupportedModelError
from pymc_amortized.graph.backend import PyTensorGraph, SwitchingGraph
from tests.graph.expressions import (
    SCALAR,
    VECTOR,
)
from tests.graph.unknown import CubeRoot

pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_falling_back_to_pytensor():
    graph = SwitchingGraph([VECTOR], [CubeRoot()(VECTOR)], may_switch=True)
    value = torch.tensor([[8.0, 27.0], [1.0, 64.0]], dtype=torch.float64)
    run = {"batch": 2, "device": torch.device("cpu"), "generator": torch.Generator()}
    with pytest.warns(BackendFallbackWarning, match="CubeRoot"):
        [result] = graph([value], **run)
    torch.testing.assert_close(result, torch.tensor([[2.0, 3.0], [1.0, 4.0]]).double())
    [again] = graph([value], **run)
    torch.testing.assert_close(again, result)


def test_the_pytensor_backend_follows_the_seed():
    x = pt.random.normal(SCALAR, 1, size=2, rng=pytensor.shared(np.random.default_rng()))
    x = x[1] if isinstance(x, tuple) else x
    graph = PyTensorGraph([SCALAR], [x])
    value = torch.zeros(3, dtype=torch.float64)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return graph([value], batch=3, device=torch.device("cpu"), generator=generator)[0]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert len(draw(1).unique()) == 6


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_a_function_that_fails_is_named_with_its_reason():
    def draw(mu, rng=None, size=None):
        return rng.normal(mu[np.array([1])], 1, size=size)

    y = pm.CustomDist.dist(VECTOR[0], random=draw, shape=3)
    y.name = "y"
    graph = PyTensorGraph([VECTOR], [y])
    run = {"batch": 2, "device": torch.device("cpu"), "generator": torch.Generator()}
    with pytest.raises(UnsupportedModelError, match=r"(?s)'?y'? .*IndexError: index 1.*pm\.draw"):
        graph([torch.zeros(2, 4, dtype=torch.float64)], **run)
