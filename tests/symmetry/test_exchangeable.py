"""Exchangeable components are found: all of their variables, and nothing else."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from tests.symmetry.mixtures import Y, build

ALL = {"sigma", "mu", "w"}


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    ("options", "names", "indicators"),
    [
        ({}, ALL, ("y_component",)),
        ({"num_components": 2}, ALL, ("y_component",)),
        ({"num_components": 5}, ALL, ("y_component",)),
        ({"kind": "list"}, ALL, ("y_component",)),
        ({"kind": "explicit"}, ALL, ("z",)),
        ({"coupled": True}, ALL, ("y_component",)),
        ({"effects": True}, ALL, ("z",)),
        ({"kind": "chain"}, {"sigma", "mu", "P"}, ("z",)),
        ({"order": "sort"}, {"mu"}, ()),
    ],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_exchangeable_components(options, names, indicators, density):
    simulator = pma.compile_simulator(build(density=density, **options), device="cpu")
    assert (simulator.density is not None) == density
    [found] = simulator.exchangeable
    assert set(found.names) == names
    assert found.indicators == indicators
    assert not found.is_partial
    assert ("P", 0) not in found.parts.axes or ("P", 1) in found.parts.axes
    assert f"components are exchangeable: {', '.join(found.names)}" in repr(simulator)


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    ("options", "blocks"),
    [
        ({"mean": [0.0, 0.0, 2.0]}, ((0, 1),)),
        ({"alpha": np.array([1.0, 2.0, 1.0])}, ((0, 2),)),
        ({"num_components": 4, "mean": [0.0, 1.0, 0.0, 1.0]}, ((0, 2), (1, 3))),
    ],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_some_components(options, blocks, density):
    model = build(density=density, **options)
    [found] = pma.compile_simulator(model, device="cpu").exchangeable
    assert found.blocks == blocks
    assert found.is_partial
    assert "components 0 and" in str(found)


def test_two_mixtures_have_their_own():
    with pm.Model() as model:
        for name in "ab":
            w = pm.Dirichlet(f"w_{name}", np.ones(2))
            mu = pm.Normal(f"mu_{name}", 0, 3, shape=2)
            pm.NormalMixture(name, w, mu, sigma=1, observed=Y)
    found = pma.compile_simulator(model, device="cpu").exchangeable
    assert [set(e.names) for e in found] == [{"w_a", "mu_a"}, {"w_b", "mu_b"}]
    assert [e.indicators for e in found] == [("a_component",), ("b_component",)]
