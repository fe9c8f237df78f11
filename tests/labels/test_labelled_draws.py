"""Which variables of a result have labels."""

import numpy as np
import pytest
import xarray

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
from pymc_amortized.errors import (
    InvalidArgumentError,
)
from pymc_amortized.labels.labelled_draws import LabelledDraws, of_components
from tests.labels.switched import with_indicators


def test_labels_that_are_not_named_are_said():
    groups = dict(groups_of_result(with_indicators()))
    del groups["indicator_probabilities"]
    idata = result_of_groups(groups)
    with pytest.warns(UserWarning, match=r"\['y_component'\] may be indicators") as caught:
        pma.relabel(idata, "pra")
    assert caught[0].filename == __file__
    found = pma.relabel(idata, indicators=["y_component"])
    assert found["posterior"].attrs["relabelled_by"] == "ecr_iterative_1"


def test_indicators_of_other_mixtures_are_left_alone():
    groups = dict(groups_of_result(with_indicators()))
    for name in ("indicators", "indicator_probabilities"):
        groups[name] = groups[name].assign(other_z=groups[name]["y_component"])
    idata = result_of_groups(groups)
    with pytest.raises(InvalidArgumentError, match="which indicators count"):
        pma.relabel(idata)
    found = groups_of_result(pma.relabel(idata, indicators=["y_component"]))
    for name in ("indicators", "indicator_probabilities"):
        assert found[name]["other_z"].equals(groups[name]["other_z"])
        assert not found[name]["y_component"].equals(groups[name]["y_component"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "best"}, "Expected a method among"),
        ({"component_dim": "cluster"}, r"among .*'component'"),
        ({"component_dim": ("component", "unit")}, "same length"),
        ({"method": "ordering"}, r"one number for each component, among \['w', 'mu'\]"),
        ({"method": "ordering", "by": "other"}, r"among \['w', 'mu'\]"),
        ({"method": "stephens"}, "Expected a model"),
        ({"method": "ecr", "indicators": []}, "Expected indicators"),
        ({"indicators": ["mu"]}, "labels from 0 to 2; got values of type float64"),
        ({"indicators": ["nothing"]}, "got nothing of this name"),
        ({"method": "pra", "pivot": (0, 1_000)}, "among 2 chains and 150 draws"),
        ({"method": "data_based", "data": "x"}, "one observed variable"),
    ],
)
def test_bad_input(options, match):
    with pytest.raises(InvalidArgumentError, match=match):
        pma.relabel(with_indicators(), **options)


def read(component_dim=None, indicators=(), **groups):
    """Two chains of five draws, of three components."""
    rng = np.random.default_rng(0)
    posterior = xarray.Dataset(
        {
            "mu": (("chain", "draw", "component"), rng.normal(size=(2, 5, 3))),
            "slope": (("chain", "x", "draw", "component"), rng.normal(size=(2, 4, 5, 3))),
            "P": (("chain", "draw", "component", "next"), rng.dirichlet(np.ones(3), (2, 5, 3))),
            "z": (("chain", "draw", "unit"), rng.integers(3, size=(2, 5, 6))),
            "sigma": (("chain", "draw"), rng.normal(size=(2, 5))),
        }
    )
    return LabelledDraws.read({"posterior": posterior, **groups}, component_dim, list(indicators))


def test_parameters_of_components_lie_side_by_side():
    """One mean, four slopes, and the probability of staying."""
    draws = read(("component", "next"), ["z"])
    found = draws.parameters()
    posterior = draws.posterior
    assert (draws.num_labels, draws.shape) == (3, (2, 5))
    assert found.shape == (10, 3, 6)
    for chain, draw, k in ((0, 0, 0), (1, 3, 2)):
        here = {"chain": chain, "draw": draw, "component": k}
        expected = [
            float(posterior["mu"].isel(here)),
            *posterior["slope"].isel(here).values,
            float(posterior["P"].isel({**here, "next": k})),
        ]
        assert np.allclose(found[5 * chain + draw, k], expected)


@pytest.mark.parametrize("axes", [(1, 2), (2, 4), (3, 1, 4)], ids=str)
def test_of_several_axes_of_components_the_diagonal_is_taken(axes):
    """An axis of features may lie between them."""
    shape = tuple(3 if i in axes else 2 for i in range(1, 5))
    values = np.random.default_rng(0).normal(size=(7, *shape))
    found = of_components(values, axes)
    for k in range(3):
        own = values[tuple(k if i in axes else slice(None) for i in range(5))]
        assert np.array_equal(found[:, k], own.reshape(7, -1))


def test_labels_of_all_indicators_lie_side_by_side():
    draws = read("component", ["z"])
    assert np.array_equal(draws.labels(), draws.posterior["z"].values.reshape(10, 6))
    assert np.array_equal(draws.of("mu"), draws.posterior["mu"].values.reshape(10, 3))


def test_the_pivot_is_the_most_probable_draw():
    lp = np.full((2, 5), -3.0)
    lp[1, 2], lp[0, 4] = -1.0, np.nan
    stats = xarray.Dataset({"lp": (("chain", "draw"), lp)})
    assert read(sample_stats=stats).pivot(None) == 7
    assert read(sample_stats=stats).pivot((0, 3)) == 3
    with pytest.raises(InvalidArgumentError, match=r"no log density(.|\n)*pivot=\(0, 0\)"):
        read().pivot(None)
