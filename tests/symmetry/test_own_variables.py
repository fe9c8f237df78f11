"""Components written as variables of their own: found, answered in one labelling, and no others."""

import functools

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.symmetry.order_choice import choose_orders
from tests.symmetry.mixtures import draw_t, drawn
from tests.symmetry.single_components import (
    Y,
    chain,
    hierarchical,
    multivariate,
    regressions,
    three,
    two,
    two_with_axes,
)
from tests.two_sample import LEVEL, smallest_p_value

PAIRS = {"mu_0": ("mu", 0), "mu_1": ("mu", 1), "s_0": ("s", 0), "s_1": ("s", 1)}
OPTIONS = {"training": "none", "random_seed": 1, "progressbar": False, "cache": False}


def found_in(model):
    return pma.compile_simulator(model, device="cpu").exchangeable


@pytest.mark.parametrize(
    "names",
    [("mu_0", "mu_1", "s_0", "s_1"), ("late", "early", "d", "c"), ("a1", "b7", "a2", "c")],
)
@pytest.mark.parametrize("parametrization", ["list", "stick", "indicator"])
def test_names_do_not_matter(names, parametrization):
    [found] = found_in(two(names=names, parametrization=parametrization))
    assert {frozenset(m) for m in found.parts.variables} == {
        frozenset(names[:2]),
        frozenset(names[2:]),
    }
    weights = (("w", 0),) if parametrization == "list" else (("w", 1.0),)
    assert found.parts.axes + found.parts.mirrored == weights
    assert found.indicators == ("z" if parametrization == "indicator" else "y_component",)


@pytest.mark.parametrize("parametrization", ["list", "stick", "indicator"])
def test_different_priors_are_not_exchanged(parametrization):
    model = two(means=(0, 1), parametrization=parametrization)
    assert found_in(model) == ()
    posterior = pma.fit(model, **OPTIONS)
    assert posterior.inference.problem.labelling.orders == ()
    with pytest.raises(pma.errors.InvalidArgumentError, match="no components are exchangeable"):
        pma.fit(model, order_by="mu_0", **OPTIONS)


@pytest.mark.parametrize("kind", ["normal", "cauchy"])
def test_two_of_three_that_are_alike(kind):
    [found] = found_in(three(last=10.0 if kind == "normal" else 0.0, kind=kind))
    assert found.blocks == ((0, 2),)
    assert ("a", None, "c") in found.parts.variables
    [order] = choose_orders(pma.compile_simulator(three(10.0), device="cpu"), "c")
    assert order.names == ("a", "c")


def test_partners_are_found_by_their_effects():
    model = regressions(num_components=3)
    [found] = found_in(model)
    assert {frozenset(m) for m in found.parts.variables} == model.partners
    assert not found.is_partial


def test_priors_of_their_own():
    [found] = found_in(hierarchical())
    assert set(found.parts.variables) == {("mu_0", "mu_1"), ("left", "right")}


def test_rows_of_a_transition_matrix():
    [found] = found_in(chain())
    assert set(found.parts.variables) == {("row_0", "row_1"), ("mu_0", "mu_1")}
    assert set(found.parts.axes) == {("row_0", 0), ("row_1", 0)}
    assert found.indicators == ("z",)


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.parametrize("kind", ["list", "explicit"])
@pytest.mark.parametrize("alike", [True, False])
def test_without_a_density(kind, alike):
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = [pm.Normal(name, mean, 3) for name, mean in (("b", 0), ("a", 0 if alike else 1))]
        if kind == "list":
            pm.Mixture("y", w, [drawn(m, 1.0) for m in mu], observed=Y)
        else:
            z = pm.Bernoulli("z", w[1], shape=len(Y))
            means = pm.math.switch(z, mu[1], mu[0])
            pm.CustomDist("y", means, 1.0, random=draw_t, observed=Y)
    found = found_in(model)
    assert [f.parts.variables for f in found] == ([(("b", "a"),)] if alike else [])


def test_many_variables_cost_little():
    """Of 40 coefficients in an order that says nothing."""
    model = regressions(num_components=4, num_slopes=10)
    [found] = found_in(model)
    assert {frozenset(m) for m in found.parts.variables} == model.partners


@functools.cache
def ordered(build, by):
    simulator = pma.compile_simulator(build(), device="cpu")
    return simulator.in_order(choose_orders(simulator, by))


def with_axes(draws):
    """Lay the parameters of single components side by side."""
    values = {name: np.asarray(x, dtype=float) for name, x in draws.items()}
    side_by_side = {
        to: np.stack([values[n] for n, (t, _) in PAIRS.items() if t == to], -1)
        for to in ("mu", "s")
    }
    return {"w": values["w"], **side_by_side}


@pytest.mark.parametrize("by", ["mu", "s"])
def test_prior_in_order_is_that_of_axes(by):
    one = with_axes(ordered(two, f"{by}_1").sample(20_000, 1).parameters)
    assert (np.diff(one[by], axis=1) > 0).all()
    other = {
        n: x.numpy() for n, x in ordered(two_with_axes, by).sample(20_000, 2).parameters.items()
    }
    p_value, where = smallest_p_value(one, other)
    assert p_value > LEVEL, where


@pytest.mark.parametrize("left_behind", [None, "s_0", "w"])
def test_putting_in_order_changes_no_density(left_behind):
    """But where a variable stays behind: the planted fault."""
    simulator, one = pma.compile_simulator(two(), device="cpu"), ordered(two, "mu_0")
    draws = simulator.sample(100, 3).parameters
    arranged = one.labelling.arrange(draws)
    if left_behind is not None:
        arranged[left_behind] = draws[left_behind]
    log_p = [simulator.density.log_marginal(p, simulator.observed_data) for p in (draws, arranged)]
    changed = ~torch.isclose(*log_p)
    assert bool((arranged["mu_0"] < arranged["mu_1"]).all())
    assert (float(changed.double().mean()) > 0.2) == (left_behind is not None)
    assert left_behind is not None or not bool(changed.any())


@pytest.mark.parametrize("by", ["mu", "s"])
def test_density_in_order_is_that_of_axes(by):
    one, other = ordered(two, (f"{by}_0", f"{by}_1")), ordered(two_with_axes, by)
    draws = one.sample(50, 4).parameters
    same = {n: torch.as_tensor(x) for n, x in with_axes(draws).items()}
    log_joints = []
    for simulator, parameters in ((one, draws), (other, same)):
        vector = simulator.parameters.unconstrain(parameters)
        back = simulator.parameters.constrain(vector)
        for name, value in parameters.items():
            torch.testing.assert_close(back[name], value, rtol=1e-9, atol=1e-9)
        log_prior = simulator.density.log_prior(simulator.parameters.split(vector))
        log_marginal = simulator.density.log_marginal(parameters, simulator.observed_data)
        log_joints.append(log_prior + log_marginal)
    torch.testing.assert_close(log_joints[0], log_joints[1])
    torch.testing.assert_close(
        one.labelling.log_jacobian(draws), other.labelling.log_jacobian(same)
    )
    assert one.log_prior_mass() == pytest.approx(other.log_prior_mass())


@functools.cache
def answer(build, by=None):
    return pma.fit(build(), order_by=by, **OPTIONS).sample(draws=1_000, random_seed=2)


def test_the_answer_is_that_of_axes():
    one, other = answer(two, "mu_0"), answer(two_with_axes, "mu")
    for idata in (one, other):
        assert idata["posterior"].attrs["checked"] == "accepted"
    assert one["posterior"].attrs["labels_ordered_by"] == "mu_0, mu_1"
    draws = [
        with_axes({n: one["posterior"][n] for n in ("w", *PAIRS)}),
        {n: other["posterior"][n].to_numpy() for n in ("w", "mu", "s")},
    ]
    for name, x in draws[0].items():
        a, b = (d.reshape(-1, 2) for d in (x, draws[1][name]))
        assert (np.abs(a.mean(0) - b.mean(0)) < 0.1 * b.std(0)).all(), name
        assert (np.abs(np.log(a.std(0) / b.std(0))) < 0.1).all(), name
    tables = [idata["indicator_probabilities"]["y_component"].to_numpy() for idata in (one, other)]
    assert np.sqrt(np.square(tables[0] - tables[1]).mean()) < 0.01


def test_symmetric_answers_are_the_same_permuted():
    model = two(parametrization="indicator")
    posterior = pma.fit(model, order_by="s_0", **OPTIONS)
    options = {"draws": 500, "random_seed": 2}
    one, other = (
        posterior.sample(labels=labels, **options) for labels in ("canonical", "symmetric")
    )
    a, b = (r["posterior"] for r in (one, other))
    assert (a["s_0"] < a["s_1"]).all()
    swapped = b["s_0"] > b["s_1"]
    assert abs(float(swapped.mean()) - 0.5) < 3.3 * 0.5 / np.sqrt(2_000)
    for name, partner in (("mu_0", "mu_1"), ("s_1", "s_0")):
        np.testing.assert_allclose(b[name].where(~swapped, b[partner]), a[name])
    np.testing.assert_allclose(b["w"].where(~swapped, 1 - b["w"]), a["w"])
    z, moved = (r["indicators"]["z"] for r in (one, other))
    np.testing.assert_array_equal(moved.where(~swapped, 1 - moved), z)
    np.testing.assert_allclose(other["indicator_probabilities"]["z"], 0.5)


def test_multivariate_components_are_in_order():
    simulator = pma.compile_simulator(multivariate(), device="cpu")
    [found] = simulator.exchangeable
    assert {"w", "mu_0", "chol_2"} <= set(found.names)
    one = simulator.in_order(choose_orders(simulator, "mu_2"))
    draws = one.sample(200, 1).parameters
    [order] = one.labelling.orders
    values = np.stack([draws[f"mu_{k}"][:, order.column[0]] for k in range(3)], axis=1)
    assert (np.diff(values, axis=1) > 0).all()
    back = one.parameters.constrain(one.parameters.unconstrain(draws))
    for name, value in draws.items():
        torch.testing.assert_close(back[name], value, rtol=1e-7, atol=1e-9)
