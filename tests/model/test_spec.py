"""The reading of each model: parameters, indicators, units, covariates, structure."""

import dataclasses
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.compat import reference_mode
from tests.cases import POINTS, N, T, X, Y


def test_structure_and_density(case, simulators):
    _, simulator = simulators(case.name)
    assert simulator.spec.structure == case.structure
    assert simulator.spec.has_density == case.has_density
    assert (simulator.density is not None) == case.has_density


def test_parameters(simulators):
    spec = simulators("normal_mixture_with_initval")[1].spec
    w, mu, sigma = spec.parameters
    assert (w.name, w.shape, w.unconstrained_shape, w.support) == ("w", (2,), (1,), "simplex")
    assert (mu.transform, mu.support) == ("ordered", "ordered")
    assert (sigma.distribution, sigma.transform, sigma.support) == ("HalfNormal", "log", "positive")


def test_dims(simulators):
    spec = simulators("normal_mixture_with_initval")[1].spec
    assert spec.observations[0].dims == ("eruption",)
    assert spec.indicators[0].dims == ("eruption",)
    assert simulators("gaussian_hidden_markov_model")[1].spec.indicators[0].dims == ("time",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("normal_mixture_ordered", ("y_component", (N,), "independent", 0, False, "mixture")),
        ("explicit_categorical", ("z", (N,), "independent", 0, False, "explicit")),
        ("marginalized_by_pymc_extras", ("z", (N,), "independent", 0, False, "marginalized")),
        ("gaussian_hidden_markov_model", ("z", (T,), "markov", 1, False, "explicit")),
        ("chain_of_order_two", ("z", (T,), "markov", 2, False, "explicit")),
        ("time_varying_transition_in_a_scan", ("z", (T,), "markov", 1, True, "explicit")),
        ("chains_in_parallel", ("z", (2, 4), "markov", 1, False, "explicit")),
        ("groups_of_observations", ("z", (3,), "independent", 0, False, "explicit")),
    ],
)
def test_indicators(name, expected, simulators):
    [spec] = simulators(name)[1].spec.indicators
    found = (spec.name, spec.units, spec.kind, spec.order, spec.time_varying, spec.origin)
    assert found == expected


def test_units_and_events(simulators):
    replicated, count = simulators("several_observed_variables")[1].spec.observations
    assert replicated.event_shape == (2,)
    assert replicated.owner.tolist() == [[i, i] for i in range(N)]
    assert (count.event_shape, count.dtype, count.indicator) == ((), "int64", "z")
    [grouped] = simulators("groups_of_observations")[1].spec.observations
    assert grouped.owner.tolist() == [0, 2, 1, 1, 0]
    [multivariate] = simulators("multivariate_components")[1].spec.observations
    assert multivariate.event_shape == (2,)


def test_masks(simulators):
    for name in ("masked_mixture", "masked_explicit"):
        [spec] = simulators(name)[1].spec.observations
        assert spec.observed.tolist() == [True, False, True, True, False]
        assert (spec.name, spec.num_missing, spec.shape) == ("y", 2, (N,))
        assert "y_unobserved" not in [p.name for p in simulators(name)[1].spec.parameters]


def _masked_points(missing):
    data = POINTS.copy()
    data[missing] = np.nan
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 2, shape=(2, 2))
        components = [pm.MvNormal.dist(mu[k], np.eye(2)) for k in range(2)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pm.Mixture("y", w=w, comp_dists=components, observed=data)
    return model


def test_missing_multivariate_values():
    simulator = pma.compile_simulator(_masked_points([1, 3]), device="cpu")
    [spec] = simulator.spec.observations
    assert spec.observed.tolist() == [True, False, True, False, True]
    parameters = simulator.sample(4, random_seed=1).parameters
    with pm.Model() as without:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 2, shape=(2, 2))
        components = [pm.MvNormal.dist(mu[k], np.eye(2)) for k in range(2)]
        pm.Mixture("y", w=w, comp_dists=components, observed=POINTS[[0, 2, 4]])
    other = pma.compile_simulator(without, device="cpu")
    torch.testing.assert_close(
        simulator.density.log_marginal(parameters, simulator.observed_data),
        other.density.log_marginal(parameters, other.observed_data),
    )


def test_values_observed_in_part_are_refused():
    with pytest.raises(errors.UnsupportedModelError, match="'y' to be observed or missing"):
        pma.compile_simulator(_masked_points((1, 0)))


def test_covariates_run_along_the_units(simulators):
    [raw] = simulators("regressions_on_an_array")[1].spec.covariates
    assert (raw.origin, raw.unit_axes) == ("constant", {"y": 0})
    [named] = simulators("regressions_on_data")[1].spec.covariates
    assert (named.name, named.origin, named.unit_axes) == ("x", "data", {"y": 0})
    [expert] = simulators("mixture_of_experts")[1].spec.covariates
    assert expert.unit_axes == {"y": 0}


def test_a_covariate_of_masked_units():
    with pm.Model() as model:
        x = pm.Data("x", X)
        slope = pm.Normal("slope", 0, 1)
        z = pm.Bernoulli("z", 0.4, shape=N)
        mask = np.array([False, True, False, False, True])
        with pytest.warns(Warning, match="impute|missing|masked"):
            pm.Normal("y", slope * x + z, 1, observed=np.ma.masked_array(Y, mask))
    [covariate] = pma.compile_simulator(model, device="cpu").spec.covariates
    assert covariate.unit_axes == {"y": 0}


def test_a_matrix_of_covariates_and_a_vector_shared_by_all():
    features = np.random.default_rng(0).normal(size=(N, 3))
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 1, shape=3)
        z = pm.Bernoulli("z", 0.4, shape=N)
        scale = pm.Data("scale", np.array([0.5, 1.0, 2.0]))
        pm.Normal("y", pt.dot(features, beta * scale) + z, 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    found = {c.name: (c.shape, c.unit_axes) for c in simulator.spec.covariates}
    assert found == {"scale": ((3,), {}), "y_covariate_0": ((N, 3), {"y": 0})}
    assert simulator.spec.observations[0].exchangeable


def test_covariates_of_an_explicit_indicator():
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1)
        z = pm.Bernoulli("z", pm.math.sigmoid(slope * X))
        pm.Normal("y", z, 1, observed=Y)
    spec = pma.compile_simulator(model, device="cpu").spec
    assert [c.unit_axes for c in spec.covariates] == [{"y": 0}]
    assert spec.observations[0].exchangeable


def test_indicators_with_weights_of_their_own_are_not_exchangeable():
    with pm.Model() as model:
        w = pm.Beta("w", 2, 2, shape=N)
        z = pm.Bernoulli("z", w)
        pm.Normal("y", z, 1, observed=Y)
    assert not pma.compile_simulator(model, device="cpu").spec.observations[0].exchangeable


def test_an_observed_variable_that_depends_on_a_mixture():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        first = pm.NormalMixture("first", [0.3, 0.7], mu, 1.0, observed=Y)
        pm.Normal("second", first * mu[0], 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    simulation = simulator.sample(3, random_seed=1)
    ours = simulator.density.log_marginal(simulation.parameters, simulator.observed_data)
    logp = model.compile_logp(vars=model.observed_RVs, mode=reference_mode())
    for row in range(3):
        expected = logp({"mu": simulation.parameters["mu"][row].numpy()})
        assert abs(float(ours[row]) - float(expected)) < 1e-9
    many = simulator.sample(4_000, random_seed=2)
    residual = many.observations["second"] - (
        many.observations["first"] * many.parameters["mu"][:, :1]
    )
    assert abs(float(residual.std()) - 1) < 0.03


def test_units_are_seen_where_components_are_alike_under_some_parameters():
    """Under a third of the prior draws both components have mean 0 after the rectifier."""
    with pm.Model() as model:
        mu = pm.Normal("mu", -0.5, 1, shape=2)
        start = pm.Uniform("start", 0, N)
        z = pm.Bernoulli("z", 0.4, shape=N)
        rectified = pt.maximum(mu, 0)[z]
        pm.Normal("y", pt.switch(np.arange(N) >= start - 1, rectified, 0.0), 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    assert simulator.spec.observations[0].owner.tolist() == list(range(N))


def test_dependence_that_no_prior_draw_shows_is_refused_when_it_appears():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.4, shape=N)
        pm.Normal("y", pt.maximum(mu - 50, 0)[z], 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    near = {"mu": torch.zeros(2, 2, dtype=torch.float64)}
    far = {"mu": torch.tensor([[0.0, 0.0], [0.0, 60.0]], dtype=torch.float64)}
    assert bool(torch.isfinite(simulator.density.log_marginal(near, simulator.observed_data)).all())
    with pytest.raises(errors.UnsupportedModelError, match="for these parameters they do"):
        simulator.density.log_marginal(far, simulator.observed_data)


def test_deterministics_of_observed_variables():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        y = pm.NormalMixture("y", [0.3, 0.7], mu, 1.0, observed=Y)
        pm.Deterministic("residual", y - mu[0])
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    computed = simulator.deterministics(parameters)["residual"]
    expected = torch.as_tensor(Y) - parameters["mu"][:, :1]
    torch.testing.assert_close(computed, expected)


def test_deterministics_have_a_value_for_each_draw():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        y = pm.Normal("y", mu, 1, observed=Y)
        pm.Deterministic("double", 2 * y)
    simulator = pma.compile_simulator(model, device="cpu")
    computed = simulator.deterministics(simulator.sample(3, random_seed=1).parameters)
    assert computed["double"].tolist() == [(2 * Y).tolist()] * 3


def test_the_density_of_a_model_that_pymc_cannot_derive_as_a_whole():
    """Censored components on an axis: PyMC derives each component, but not their mixture."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [0, 1], 1)
        component = pm.Censored.dist(pm.Normal.dist(mu, 1), lower=-1, upper=1.0)
        pm.Mixture("y", [0.3, 0.7], component, observed=np.clip(Y, -1, 1))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    ours = simulator.density.log_marginal(parameters, simulator.observed_data)
    for row in range(3):
        normal = stats.norm(parameters["mu"][row].numpy(), 1)
        clipped = np.clip(Y, -1, 1)[:, None]
        inner = np.where(clipped == -1, normal.cdf(-1), normal.pdf(clipped))
        likelihood = np.where(clipped == 1, normal.sf(1), inner)
        # PyMC's own normal distribution function is right to 2e-8.
        assert abs(float(ours[row]) - np.log(likelihood @ [0.3, 0.7]).sum()) < 2e-7


def test_missing_values_of_several_axes():
    data = np.random.default_rng(0).normal(size=(4, 3))
    data[0, 1] = np.nan
    data[:, 2] = np.nan
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        z = pm.Bernoulli("z", 0.4, shape=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pm.Normal("y", mu[z] * np.ones((4, 1)), 1, observed=data)
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    ours = simulator.density.log_marginal(parameters, simulator.observed_data)
    for row in range(3):
        means = parameters["mu"][row].numpy()
        columns = stats.norm.logpdf(data[:, :, None], means, 1)
        each = np.nansum(columns, axis=0) + np.log([0.6, 0.4])
        assert abs(float(ours[row]) - np.logaddexp.reduce(each, axis=1).sum()) < 1e-9


def test_zero_inflated_components():
    with pm.Model() as model:
        mu = pm.Gamma("mu", [1, 2], 1)
        components = [pm.ZeroInflatedPoisson.dist(0.5, mu[0]), pm.Poisson.dist(mu[1])]
        pm.Mixture("y", w=[0.3, 0.7], comp_dists=components, observed=np.arange(N))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    ours = simulator.density.log_marginal(parameters, simulator.observed_data)
    logp = model.compile_logp(vars=model.observed_RVs, mode=reference_mode())
    for row in range(3):
        expected = logp({"mu_log__": parameters["mu"][row].log().numpy()})
        assert abs(float(ours[row]) - float(expected)) < 1e-9


def test_what_is_not_exchangeable():
    """Noise that grows along the units through a cumulative sum of parameters."""
    with pm.Model() as model:
        step = pm.Normal("step", 0, 1, shape=N)
        z = pm.Bernoulli("z", 0.4, shape=N)
        pm.Normal("y", pt.cumsum(step) + z, 1, observed=Y)
    [spec] = pma.compile_simulator(model, device="cpu").spec.observations
    assert not spec.exchangeable


def test_deterministics_and_potentials(simulators):
    spec = simulators("deterministics_of_indicators")[1].spec
    found = {d.name: d.depends_on_indicators for d in spec.deterministics}
    assert found == {"gap": False, "mean": True, "share": True}
    assert simulators("potential_as_ordering")[1].spec.potentials == ("order",)


def test_other_finite_supports():
    with pm.Model() as model:
        first = pm.DiscreteUniform("first", -1, 1, shape=N)
        second = pm.Binomial("second", 3, 0.5, shape=N)
        pm.Normal("x", first, 1, observed=Y)
        pm.Normal("y", second, 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    assert [i.support for i in simulator.spec.indicators] == [(-1, 0, 1), (0, 1, 2, 3)]
    simulation = simulator.sample(3, random_seed=1)
    marginal = simulator.density.log_marginal(simulation.parameters, simulator.observed_data)
    values = np.array([-1.0, 0, 1]), np.array([0.0, 1, 2, 3])
    weights = np.full(3, 1 / 3), np.array([1, 3, 3, 1]) / 8
    expected = sum(
        np.log(stats.norm.pdf(Y[:, None], v) @ w).sum()
        for v, w in zip(values, weights, strict=True)
    )
    np.testing.assert_allclose(marginal.numpy(), expected)


def test_a_switch_point_is_one_unit_for_all():
    time = np.arange(N)
    with pm.Model() as model:
        rate = pm.Exponential("rate", 1, shape=2)
        switch = pm.DiscreteUniform("switch", 0, N - 1)
        pm.Poisson("y", pt.switch(time < switch, rate[0], rate[1]), observed=np.arange(N))
    simulator = pma.compile_simulator(model, device="cpu")
    [spec] = simulator.spec.indicators
    assert (spec.units, spec.num_components) == ((), N)
    assert simulator.density is not None


def test_it_is_frozen(simulators):
    spec = simulators("normal_mixture_ordered")[1].spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.structure = "sequence"
    for item in (spec.parameters[0], spec.indicators[0], spec.observations[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            item.name = "other"


def test_repr_is_a_table(case, simulators):
    _, simulator = simulators(case.name)
    text, html = repr(simulator.spec), simulator.spec._repr_html_()
    items = (*simulator.spec.parameters, *simulator.spec.indicators, *simulator.spec.observations)
    for item in items:
        assert item.name in text
        assert f"<td style='text-align:left'>{item.name}</td>" in html
    assert max(map(len, text.splitlines())) <= 160
    assert html.count("<table>") == html.count("</table>") >= 2
    assert html in simulator._repr_html_()


def test_the_model_is_left_as_it_was():
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2)))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=pm.Categorical.dist([0.5, 0.5]), shape=(T,))
        pm.Normal("y", z, 1, observed=Y)
    before = (model.str_repr(), list(model.named_vars), dict(model.rvs_to_values))
    simulator = pma.compile_simulator(model, device="cpu")
    simulator.density.log_marginal(simulator.sample(2).parameters, simulator.observed_data)
    assert before == (model.str_repr(), list(model.named_vars), dict(model.rvs_to_values))


def test_the_model_of_the_context():
    with pm.Model():
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=Y)
        assert pma.compile_simulator(device="cpu").spec.parameters[0].name == "mu"
