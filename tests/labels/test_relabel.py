"""Indicators and comparable labels for any posterior, in InferenceData and DataTree."""

import functools
import re

from typing import get_args

import numpy as np
import pymc as pm
import pytest
import xarray

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
from pymc_amortized.errors import (
    AccuracyWarning,
    InvalidArgumentError,
    InvalidDataError,
    ParameterShapeError,
    UnsupportedModelError,
)
from pymc_amortized.labels.relabel import RelabelMethod
from tests.inference.test_markov_states import forward_backward
from tests.trained import chain, simulate_chain

NUM_CHAINS, NUM_DRAWS = 2, 150
NUM_LABELS, NUM_UNITS = 3, 60
RNG = np.random.default_rng(5)
Z = RNG.integers(NUM_LABELS, size=NUM_UNITS)
Y = 5.0 * Z + RNG.normal(size=NUM_UNITS)
METHODS = get_args(RelabelMethod)


def mixture(y=Y, location=0.0):
    coords = {"component": list("abc"), "unit": np.arange(len(y)) + 10}
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", np.ones(3), dims="component")
        mu = pm.Normal("mu", location, 10, dims="component")
        sigma = pm.HalfNormal("sigma", 2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y, dims="unit")
    return model


def posterior_group(shuffled=True, seed=1):
    """Draws around the truth, each in a labelling of its own."""
    rng = np.random.default_rng(seed)
    shape = (NUM_CHAINS, NUM_DRAWS)
    w = rng.dirichlet(np.full(3, 30.0), shape)
    mu = 5.0 * np.arange(3) + rng.normal(0, 0.2, (*shape, 3))
    order = np.argsort(rng.random((*shape, 3)), axis=-1) if shuffled else np.arange(3)
    order = np.broadcast_to(order, mu.shape)
    w, mu = (np.take_along_axis(x, order, axis=-1) for x in (w, mu))
    return xarray.Dataset(
        {
            "w": (("chain", "draw", "component"), w),
            "mu": (("chain", "draw", "component"), mu),
            "sigma": (("chain", "draw"), np.exp(rng.normal(0, 0.1, shape))),
            "other": (("chain", "draw", "three"), rng.normal(size=(*shape, 3))),
            "P": (
                ("chain", "draw", "component", "next_component"),
                10.0 * order[..., :, None] + order[..., None, :],
            ),
        },
        coords={
            "chain": [3, 7],
            "draw": 2 * np.arange(NUM_DRAWS),
            "component": list("abc"),
        },
        attrs={"made": "by hand"},
    )


def result(build=result_of_groups, **options):
    posterior = posterior_group(**options)
    lp = -np.square(posterior["mu"] - 5.0).sum("component").rename("lp")
    observed = xarray.Dataset({"y": ("unit", Y)})
    groups = {
        "posterior": posterior,
        "sample_stats": xarray.Dataset({"lp": lp}),
        "observed_data": observed,
    }
    return build(groups)


@functools.cache
def with_indicators():
    return pma.add_indicators(result(), mixture(), random_seed=1)


def exact_probabilities(posterior):
    """p(z_i = k given y, θ), (chain, draw, unit, component)."""
    w, mu, sigma = (posterior[name].to_numpy() for name in ("w", "mu", "sigma"))
    joint = w[:, :, None] * stats.norm.pdf(Y[:, None], mu[:, :, None], sigma[:, :, None, None])
    return joint / joint.sum(-1, keepdims=True)


@pytest.mark.parametrize("build", [result_of_groups, xarray.DataTree.from_dict])
def test_indicators_of_a_marginal_mixture_are_exact(build):
    before = result(build)
    copy = result(build)
    found = pma.add_indicators(before, mixture(), random_seed=1)
    exact = exact_probabilities(found["posterior"])
    table = found["indicator_probabilities"]["y_component"]
    assert table.dims == ("unit", "component")
    assert np.abs(table.to_numpy() - exact.mean((0, 1))).max() < 1e-10
    z = found["posterior"]["y_component"]
    assert z.dims == ("chain", "draw", "unit")
    assert z["draw"].to_numpy().tolist() == (2 * np.arange(NUM_DRAWS)).tolist()
    assert z["chain"].to_numpy().tolist() == [3, 7]
    assert z["unit"].to_numpy().tolist() == (np.arange(NUM_UNITS) + 10).tolist()
    # Each draw is of its own parameters: with them known, z is nearly so.
    hit = np.take_along_axis(exact, z.to_numpy()[..., None], axis=-1)
    expected, spread = np.square(exact).sum(-1).mean(), exact.size**-0.5
    assert abs(hit.mean() - expected) < 4.5 * spread
    # What was there is there as it was, and the input is unchanged.
    assert found["posterior"].attrs["made"] == "by hand"
    for name, group in groups_of_result(copy).items():
        assert groups_of_result(before)[name].identical(group)
        assert group.equals(groups_of_result(found)[name][list(group.data_vars)])
    assert type(found) is type(result_of_groups({"posterior": posterior_group()}))


def test_indicators_that_are_there_are_kept():
    first = with_indicators()
    again = pma.add_indicators(first, mixture(), random_seed=2)
    z = again["posterior"]["y_component"]
    assert z.equals(first["posterior"]["y_component"])


def test_states_of_a_chain():
    _, y = simulate_chain(30, 3)
    rng = np.random.default_rng(0)
    mu, stay = rng.normal(0.5, 0.1, (2, 100)), rng.beta(30, 6, (2, 100))
    posterior = xarray.Dataset({"mu": (("chain", "draw"), mu), "stay": (("chain", "draw"), stay)})
    idata = xarray.DataTree.from_dict({"posterior": posterior})
    model = chain(y)
    found = pma.add_indicators(idata, model, random_seed=1)
    _, alpha, gamma, _ = forward_backward(y, mu.ravel(), stay.ravel())
    tables = found["indicator_probabilities"]
    assert np.abs(tables["smoothing"].to_numpy() - gamma.mean(0)).max() < 1e-10
    assert np.abs(tables["filtering"].to_numpy() - alpha.mean(0)).max() < 1e-10
    assert tables["viterbi"].dims == ("time",)
    z = found["posterior"]["z"]
    assert z.dims == ("chain", "draw", "time")
    error = np.sqrt(gamma.mean(0)[:, 1] * gamma.mean(0)[:, 0] / 200)
    assert (np.abs(z.mean(("chain", "draw")) - gamma.mean(0)[:, 1]) < 4.5 * error + 0.01).all()


def test_deterministics_of_indicators_are_added():
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        z = pm.Bernoulli("z", p, shape=3)
        pm.Deterministic("how_many", z.sum())
        pm.Normal("y", 3.0 * z, 1, observed=[0.0, 3.0, 3.1])
    posterior = xarray.Dataset({"p": (("chain", "draw"), np.full((1, 50), 0.5))})
    idata = xarray.DataTree.from_dict({"posterior": posterior})
    found = pma.add_indicators(idata, model, random_seed=1)["posterior"]
    assert np.array_equal(found["how_many"], found["z"].sum("z_dim_0"))


def without(name):
    def change(groups):
        groups["posterior"] = groups["posterior"].drop_vars(name)

    return change


def reshaped(groups):
    groups["posterior"] = groups["posterior"].isel(component=slice(2))


def not_finite(groups):
    groups["posterior"]["mu"][0, 0, 0] = np.nan


def other_data(groups):
    groups["observed_data"] = groups["observed_data"] + 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (without("mu"), ParameterShapeError, r"got none of \['mu'\]"),
        (reshaped, ParameterShapeError, r"'w' of shape \(3,\)"),
        (not_finite, ParameterShapeError, "'mu' is NaN"),
        (other_data, InvalidDataError, "posterior of the model's own data"),
    ],
)
def test_posteriors_of_other_models_are_refused(change, error, match):
    groups = {name: group.copy(deep=True) for name, group in groups_of_result(result()).items()}
    change(groups)
    with pytest.raises(error, match=match):
        pma.add_indicators(result_of_groups(groups), mixture())


def test_models_without_indicators_are_refused():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=[0.0])
    with pytest.raises(UnsupportedModelError, match="no indicator to add"):
        pma.add_indicators(result(), model)
    for wrong in (posterior_group(), {"mu": 1.0}, xarray.DataTree()):
        with pytest.raises(InvalidDataError, match="group 'posterior'"):
            pma.add_indicators(wrong, mixture())


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
    z = posterior["y_component"].to_numpy()
    own = np.take_along_axis(mu, z, axis=-1)
    z_before = before["posterior"]["y_component"].to_numpy()
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
    for name in ("posterior", "indicator_probabilities"):
        groups[name] = groups[name].assign(other_z=groups[name]["y_component"])
    idata = result_of_groups(groups)
    with pytest.raises(InvalidArgumentError, match="which indicators count"):
        pma.relabel(idata)
    found = groups_of_result(pma.relabel(idata, indicators=["y_component"]))
    for name in ("posterior", "indicator_probabilities"):
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


def test_a_pivot_is_needed_without_a_log_density():
    groups = dict(groups_of_result(with_indicators()))
    del groups["sample_stats"]
    idata = result_of_groups(groups)
    with pytest.raises(InvalidArgumentError, match="pivot"):
        pma.relabel(idata, "pra")
    assert "label_permutation" in pma.relabel(idata, "pra", pivot=(0, 3))["sample_stats"]


def switched(how):
    """Two separated components: chains or draws with labels exchanged, or neither."""
    rng = np.random.default_rng(2)
    mu = np.array([-2.0, 2.0]) + rng.normal(0, 0.2, (3, 100, 2))
    sigma = np.exp(rng.normal(0, 0.1, (3, 100, 2)))
    swap = np.zeros((3, 100), dtype=bool)
    if how == "between":
        swap[1] = True
    if how == "within":
        swap[:, 60:] = True
    mu, sigma = (np.where(swap[..., None], x[..., ::-1], x) for x in (mu, sigma))
    dims = ("chain", "draw", "component")
    return xarray.DataTree.from_dict(
        {"posterior": xarray.Dataset({"mu": (dims, mu), "sigma": (dims, sigma)})}
    )


@pytest.mark.parametrize("how", ["not", "between", "within"])
def test_switching_is_seen(how):
    found = pma.detect_label_switching(switched(how))
    assert (found.between, found.within) == (how == "between", how == "within")
    assert found.found == (how != "not")
    assert ("what to do: pma.relabel" in repr(found)) == found.found
    assert repr(found).startswith(
        {
            "not": "Labels of 'component' do not switch",
            "between": "Labels of 'component' switch between chains",
            "within": "Labels of 'component' switch within chains",
        }[how]
    )
    assert "<li>" in found._repr_html_()
    before, after = found.rhat["mu"]
    assert after < 1.02
    assert (before > 1.1) == (how != "not")
    assert len(found.table()) == 3
    relabelled = pma.relabel(switched(how), "pra", pivot=(0, 0))
    assert not pma.detect_label_switching(relabelled).found


@pytest.mark.parametrize(("shuffled", "location"), [(True, 0.0), (False, 0.0), (True, [0, 1, 2])])
def test_switching_is_said_where_indicators_are_added(shuffled, location, caplog):
    """Of components that the model does not tell apart, and of no others."""
    with caplog.at_level("WARNING", logger="pymc_amortized"):
        pma.add_indicators(result(shuffled=shuffled), mixture(location=location), random_seed=1)
    said = re.search("Labels of 'w, mu, y_component' switch .*within chains", caplog.text)
    assert bool(said) == (shuffled and location == 0.0)


def test_draws_of_components_that_are_told_apart_are_not_permuted_silently():
    options = {"by": "mu", "random_seed": 1}
    with pytest.warns(AccuracyWarning, match="the model tells its components apart"):
        pma.relabel(result(), "ordering", model=mixture(location=[0, 1, 2]), **options)
    with pytest.warns(AccuracyWarning, match="components 0 and 1 are exchangeable: w, mu"):
        pma.relabel(result(), "ordering", model=mixture(location=[0, 0, 2]), **options)
    found = [pma.relabel(result(), "ordering", model=mixture(), **options) for _ in range(2)]
    z = [f["posterior"]["y_component"].to_numpy() for f in found]
    np.testing.assert_array_equal(*z)
