"""Which parameter components are ordered by."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest

import pymc_amortized as pma

from pymc_amortized.symmetry.order_choice import choose_orders
from tests.symmetry.mixtures import build
from tests.symmetry.symmetric_models import simulators_of


def separated(scale, spread):
    """Two components that differ by their means, or by their scales, as priors have it."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, scale, shape=(2, 2))
        sigma = pm.LogNormal("sigma", 0, spread, shape=2)
        z = pm.Categorical("z", w, shape=40)
        pm.Normal("y", mu[z] * [0.1, 1.0], sigma[z][:, None], observed=np.zeros((40, 2)))
    return model


@pytest.mark.parametrize(
    ("scale", "spread", "expected"), [(5.0, 0.1, "mu[:, 1]"), (0.1, 2.0, "sigma")]
)
def test_default_order_is_by_what_separates_components_best(scale, spread, expected):
    simulator = pma.compile_simulator(separated(scale, spread), device="cpu")
    [order] = choose_orders(simulator)
    assert str(order) == expected


def emissions():
    """A chain of which nothing but the probabilities of its observations tells states apart."""
    with pm.Model() as model:
        upper = pm.Uniform("upper", 0, 1, shape=2)
        P = pm.Dirichlet("P", np.ones((2, 2)))
        E = pm.Dirichlet("E", np.ones((2, 3)))
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(9,))
        pm.Categorical("y", E[z], observed=np.arange(9) % 3)
        pm.Normal("x", 0, upper[z], observed=np.zeros(9))
    return model


def test_components_can_be_ordered_by_unconstrained_values():
    simulator = pma.compile_simulator(emissions(), device="cpu")
    [order] = choose_orders(simulator, "E")
    assert str(order) in ("E[:, 0] (unconstrained)", "E[:, 1] (unconstrained)")
    ordered = simulator.in_order([order])
    E = ordered.sample(200, 1).parameters["E"]
    values = (E.log() - E.log().mean(-1, keepdim=True))[..., order.column[1]]
    assert bool((values.diff(dim=1) > 0).all())
    [order] = choose_orders(simulator, "upper")
    ordered = simulator.in_order([order])
    assert bool((ordered.sample(200, 1).parameters["upper"].diff(dim=1) > 0).all())


def test_values_descend_under_a_transform_that_reverses_them():
    with pm.Model() as model:
        top = pm.TruncatedNormal("top", 0, 1, upper=2.0, shape=2)
        w = pm.Dirichlet("w", np.ones(2))
        pm.NormalMixture("y", w, top, sigma=0.3, observed=np.zeros(10))
    simulator = pma.compile_simulator(model, device="cpu")
    [order] = choose_orders(simulator)
    draws = simulator.in_order([order]).sample(100, 1).parameters["top"]
    assert bool((draws.diff(dim=1) > 0).all())
    assert order.monotonic


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
@pytest.mark.parametrize(("options", "expected"), [({}, "mu"), ({"order": "sort"}, "mu")])
def test_default_order_without_a_density(options, expected):
    simulator = pma.compile_simulator(build(density=False, kind="explicit", **options))
    [order] = choose_orders(simulator)
    assert str(order) == expected


@pytest.mark.parametrize("by", ["w", "sigma_", ["mu", "w"]])
def test_what_cannot_be_ordered_by_is_refused(by):
    simulator, _, _ = simulators_of("mixture")
    with pytest.raises(pma.errors.InvalidArgumentError, match="order_by='sigma'"):
        choose_orders(simulator, by)


@pytest.mark.parametrize("by", [5, ["mu", 1], {"mu": 1}])
def test_what_is_no_name_is_refused(by):
    with pytest.raises(pma.errors.InvalidArgumentError, match="name of a parameter, or a list"):
        choose_orders(simulators_of("mixture")[0], by)


def test_components_that_are_not_exchangeable_have_no_order():
    with pytest.raises(pma.errors.InvalidArgumentError, match="no components are exchangeable"):
        pma.fit(build(order="transform"), order_by="mu", cache=False)
