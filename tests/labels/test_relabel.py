"""Indicators and comparable labels for any posterior, in InferenceData and DataTree."""

from typing import get_args

import numpy as np
import pytest

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidArgumentError,
)
from pymc_amortized.labels.relabel import RelabelMethod
from tests.labels.switched import Z, exact_probabilities, mixture, result, with_indicators

METHODS = get_args(RelabelMethod)


def options_of(method):
    options = {"ordering": {"by": "mu"}}.get(method, {})
    needs_model = method in ("auto", "stephens", "ecr_iterative_2")
    return {**options, "model": mixture()} if needs_model else options


@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_a_result(method):
    idata = with_indicators()
    dims = ("component", "next_component")
    found = pma.relabel(idata, method, component_dim=dims, **options_of(method))
    before, after = (groups_of_result(x) for x in (idata, found))
    posterior = after["posterior"]
    mu = posterior["mu"].to_numpy()
    assert (mu.std((0, 1)) < 0.5).all()
    assert np.allclose(np.sort(mu, axis=-1), np.sort(before["posterior"]["mu"], axis=-1))
    # Both axes of the matrix follow, z follows, and nothing else does.
    old = before["posterior"]["P"].to_numpy()
    first = posterior["P"].to_numpy() // 10
    assert np.array_equal(np.sort(first[..., 0], -1), np.sort(old[..., 0] // 10, -1))
    second = posterior["P"].to_numpy() % 10
    assert np.array_equal(first[..., 0], second[..., 0, :])
    z = after["indicators"]["y_component"].to_numpy()
    own = np.take_along_axis(mu, z, axis=-1)
    z_before = before["indicators"]["y_component"].to_numpy()
    own_before = np.take_along_axis(before["posterior"]["mu"].to_numpy(), z_before, axis=-1)
    assert np.array_equal(own, own_before)
    for name in ("other", "sigma"):
        assert posterior[name].equals(before["posterior"][name])
    assert posterior["mu"].dims == before["posterior"]["mu"].dims
    # The permutations lead there, and probabilities are those of the new labels.
    permutation = after["sample_stats"]["label_permutation"].to_numpy()
    w = before["posterior"]["w"].to_numpy()
    assert np.array_equal(np.take_along_axis(w, permutation, axis=-1), posterior["w"])
    table = after["indicator_probabilities"]["y_component"]
    exact = exact_probabilities(posterior).mean((0, 1))
    with_model = "model" in options_of(method)
    assert np.abs(table - exact).max() < (1e-10 if with_model else 0.15)
    assert table["component"].to_numpy().tolist() == list("abc")
    assert posterior.attrs["relabelled_by"] == ("stephens" if method == "auto" else method)


def test_permutations_of_two_relabellings_are_one():
    idata = with_indicators()
    once = pma.relabel(idata, "pra")
    twice = pma.relabel(once, "ordering", by="mu")
    permutation = twice["sample_stats"]["label_permutation"].to_numpy()
    mu = idata["posterior"]["mu"].to_numpy()
    assert np.array_equal(np.take_along_axis(mu, permutation, -1), twice["posterior"]["mu"])


@pytest.mark.parametrize("method", ["pra", "ecr_iterative_1", "data_based"])
def test_components_are_numbered_as_a_whole(method):
    relabelled = pma.relabel(with_indicators(), method, by="mu")
    assert (relabelled["posterior"]["mu"].mean(("chain", "draw")).diff("component") > 0).all()
    table = relabelled["indicator_probabilities"]["y_component"]
    assert np.array_equal(table.argmax("component"), Z)


def test_the_input_of_relabelling_is_not_changed():
    idata = with_indicators()
    copies = {name: group.copy(deep=True) for name, group in groups_of_result(idata).items()}
    pma.relabel(idata, "ecr_iterative_1")
    for name, group in groups_of_result(idata).items():
        assert group.identical(copies[name])


def test_a_pivot_is_needed_without_a_log_density():
    groups = dict(groups_of_result(with_indicators()))
    del groups["sample_stats"]
    idata = result_of_groups(groups)
    with pytest.raises(InvalidArgumentError, match="pivot"):
        pma.relabel(idata, "pra")
    assert "label_permutation" in pma.relabel(idata, "pra", pivot=(0, 3))["sample_stats"]


def test_draws_of_components_that_are_told_apart_are_not_permuted_silently():
    options = {"by": "mu", "random_seed": 1}
    with pytest.warns(AccuracyWarning, match="the model tells its components apart"):
        pma.relabel(result(), "ordering", model=mixture(location=[0, 1, 2]), **options)
    with pytest.warns(AccuracyWarning, match="components 0 and 1 are exchangeable: w, mu"):
        pma.relabel(result(), "ordering", model=mixture(location=[0, 0, 2]), **options)
    found = [pma.relabel(result(), "ordering", model=mixture(), **options) for _ in range(2)]
    z = [f["indicators"]["y_component"].to_numpy() for f in found]
    np.testing.assert_array_equal(*z)
