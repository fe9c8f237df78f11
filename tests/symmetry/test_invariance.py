"""Whether a model stays the same when components are exchanged."""

import numpy as np
import pytest

import pymc_amortized as pma

from tests.symmetry.mixtures import build


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"order": "transform"},
        {"order": "potential"},
        {"mean": [-1.0, 0.0, 1.0]},
        {"alpha": np.array([1.0, 2.0, 3.0])},
    ],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_components_that_are_not(options, density):
    model = build(density=density, **options)
    assert pma.compile_simulator(model, device="cpu").exchangeable == ()
