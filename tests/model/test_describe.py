"""What a reading says of parameters, indicators and observations."""

import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from tests.cases import N, T, Y


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


def test_deterministics_and_potentials(simulators):
    spec = simulators("deterministics_of_indicators")[1].spec
    found = {d.name: d.depends_on_indicators for d in spec.deterministics}
    assert found == {"gap": False, "mean": True, "share": True}
    assert simulators("potential_as_ordering")[1].spec.potentials == ("order",)
