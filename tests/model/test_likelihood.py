"""The density of one observed variable, for every value of its indicator."""

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.model.density import likelihood

pytestmark = pytest.mark.usefixtures("interpreted")


def test_no_density_says_why(simulators):
    _, simulator = simulators("custom_component_from_random")
    assert simulator.density is None
    assert "logp" in simulator.spec.observations[0].density
    assert not simulator.spec.has_density


def test_a_density_that_torch_cannot_evaluate():
    """The distribution function of Student's t needs the incomplete beta function."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 2], 1)
        z = pm.Bernoulli("z", 0.4, shape=3)
        base = pm.StudentT.dist(4, mu=mu[z], sigma=1)
        pm.Censored("y", base, lower=-1, upper=1, observed=np.array([-1.0, 0.5, 1.0]))
    simulator = pma.compile_simulator(model, device="cpu")
    assert simulator.density is None
    assert "betainc" in simulator.spec.observations[0].density
    assert simulator.spec.observations[0].owner.tolist() == [0, 1, 2]
    drawn = simulator.sample(2_000, random_seed=1).observations["y"]
    assert bool(((drawn == -1) | (drawn == 1)).any())
    assert float(drawn.abs().max()) == 1


def test_bad_data(simulators):
    _, simulator = simulators("normal_mixture_ordered")
    parameters = simulator.sample(2, random_seed=1).parameters
    with pytest.raises(errors.ParameterShapeError, match="Expected data for"):
        simulator.density.log_marginal(parameters, {})
    with pytest.raises(errors.ParameterShapeError, match=r"shape \(5,\)"):
        simulator.density.log_marginal(parameters, {"y": np.zeros(4)})
    with pytest.raises(errors.ParameterShapeError, match="indicator among"):
        simulator.density.log_likelihood(parameters, simulator.observed_data, indicator="q")


def test_missing_values_do_not_matter(simulators):
    for name in ("masked_mixture", "masked_explicit"):
        _, simulator = simulators(name)
        parameters = simulator.sample(3, random_seed=1).parameters
        data = simulator.observed_data
        mask = simulator.spec.observations[0].observed
        other = np.where(mask, data["y"], 1e6)
        torch.testing.assert_close(
            simulator.density.log_marginal(parameters, data),
            simulator.density.log_marginal(parameters, {"y": other}),
        )


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("name", ["explicit_categorical", "switch_point"])
def test_all_states_at_once_or_one_after_the_other(simulators, monkeypatch, name, paired):
    """With data of one set, or of one for each draw."""
    _, simulator = simulators(name)
    simulation = simulator.sample(7, random_seed=2)
    data = simulation.observations if paired else simulator.observed_data
    tables = []
    for most in (2, 1_000):
        monkeypatch.setattr(likelihood, "_MANY_STATES", most)
        density = simulator.density
        table = density.log_likelihood(simulation.parameters, data)
        tables.append((table, density.log_marginal(simulation.parameters, data)))
    (first, first_total), (second, second_total) = tables
    assert first.shape == second.shape
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first_total, second_total, rtol=1e-12, atol=1e-12)
    assert float(first.std()) > 0.1
