"""Simulations are draws from exactly the model that is written: every case, both generations."""

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized import errors
from tests.conftest import as_arrays
from tests.simulation.observed import observed
from tests.two_sample import LEVEL, smallest_p_value


def test_simulations_agree_with_the_model_written_by_hand(case, simulations, references):
    p_value, where = smallest_p_value(simulations(case.name), references(case.name))
    assert p_value > LEVEL, f"{where}: {p_value:.2g}"


def test_the_comparison_sees_lost_pairing(simulations, references):
    """A planted fault: the parameters of another data set."""
    faulty = dict(simulations("normal_mixture_ordered"))
    faulty["mu"] = np.roll(faulty["mu"], 1, axis=0)
    p_value, _ = smallest_p_value(faulty, references("normal_mixture_ordered"))
    assert p_value < 1e-6


def test_the_comparison_sees_an_ignored_order(references):
    """A planted fault: PyMC's own prior draws, which ignore the transform."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.full(2, 2.0))
        mu = pm.Normal("mu", 0, 3, shape=2)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=np.zeros(5))
    faulty = as_arrays(pma.compile_simulator(model, device="cpu").sample(20_000, random_seed=1))
    p_value, _ = smallest_p_value(faulty, references("normal_mixture_ordered"))
    assert p_value < 1e-6


def test_the_comparison_sees_an_order_imposed_after_the_data(references, simulations):
    """A planted fault: sorting the means after y was simulated from unsorted ones."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.full(2, 2.0))
        mu = pm.Normal("mu", 0, 3, shape=2)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=np.zeros(5))
    faulty = as_arrays(pma.compile_simulator(model, device="cpu").sample(20_000, random_seed=1))
    faulty["mu"] = np.sort(faulty["mu"], axis=1)
    p_value, _ = smallest_p_value(faulty, references("normal_mixture_ordered"))
    assert p_value < 1e-6


def test_a_right_program_passes_with_other_seeds(simulators, references):
    _, simulator = simulators("normal_mixture_ordered")
    for seed in range(5):
        draws = as_arrays(simulator.sample(20_000, random_seed=100 + seed))
        p_value, where = smallest_p_value(draws, references("normal_mixture_ordered"))
        assert p_value > LEVEL, where


@pytest.mark.parametrize(
    "name", ["normal_mixture_ordered", "gaussian_hidden_markov_model", "hurdle_gamma"]
)
def test_the_pytensor_backend_draws_from_the_same_model(name, simulators, references):
    model, _ = simulators(name)
    simulator = pma.compile_simulator(model, device="cpu", backend="pytensor")
    draws = as_arrays(simulator.sample(20_000, random_seed=3))
    p_value, where = smallest_p_value(draws, references(name))
    assert p_value > LEVEL, f"{where}: {p_value:.2g}"


def test_seeds(simulators):
    _, simulator = simulators("gaussian_hidden_markov_model")
    first, same, other = (simulator.sample(5, random_seed=s) for s in (1, 1, 2))
    assert torch.equal(first.observations["y"], same.observations["y"])
    assert not torch.equal(first.observations["y"], other.observations["y"])
    before = torch.get_rng_state()
    simulator.sample(5)
    assert torch.equal(before, torch.get_rng_state())


def test_shapes_and_types(case, simulators):
    _, simulator = simulators(case.name)
    simulation = simulator.sample(7, random_seed=1)
    for spec in simulator.spec.parameters:
        assert simulation.parameters[spec.name].shape == (7, *spec.shape)
    for spec in simulator.spec.indicators:
        drawn = simulation.indicators[spec.name]
        assert drawn.shape == (7, *spec.units)
        assert not drawn.dtype.is_floating_point
        assert set(drawn.unique().tolist()) <= set(spec.support)
    for spec in simulator.spec.observations:
        assert simulation.observations[spec.name].shape == (7, *spec.shape)
    assert len(simulation) == 7


def test_simulate_from_given_parameters(simulators):
    _, simulator = simulators("explicit_categorical")
    parameters = {
        "w": torch.tensor([[0.0, 1.0]]).double().expand(50, 2),
        "mu": torch.tensor([[-50.0, 50.0]]).double().expand(50, 2),
        "sigma": torch.ones(50, 2).double(),
    }
    simulation = simulator.simulate(parameters, random_seed=1)
    assert bool((simulation.indicators["z"] == 1).all())
    assert bool((simulation.observations["y"] > 40).all())
    with pytest.raises(errors.ParameterShapeError, match="'mu'"):
        simulator.simulate({**parameters, "mu": torch.zeros(50, 3)})


def test_deterministics(simulators):
    _, simulator = simulators("deterministics_of_indicators")
    simulation = simulator.sample(20, random_seed=1)
    computed = simulator.deterministics(simulation.parameters, simulation.indicators)
    mu, z = simulation.parameters["mu"], simulation.indicators["z"]
    assert torch.allclose(computed["gap"], mu[:, 1] - mu[:, 0])
    assert torch.allclose(computed["mean"], mu.gather(1, z))
    assert torch.allclose(computed["share"], z.double().mean(1))
    assert set(simulator.deterministics(simulation.parameters)) == {"gap"}


def test_models_without_parameters_and_of_one_component():
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.3, shape=4)
        pm.Normal("y", z, 1, observed=np.zeros(4))
    simulator = pma.compile_simulator(model, device="cpu")
    assert simulator.parameters.unconstrain({}).shape == (1, 0)
    marginal = simulator.density.log_marginal({}, simulator.observed_data)
    drawn = simulator.sample(3, random_seed=1).indicators
    assert simulator.density.log_indicators({}, drawn).shape == (3,)
    expected = 4 * np.log(0.7 * stats.norm.pdf(0) + 0.3 * stats.norm.pdf(1))
    assert abs(float(marginal) - expected) < 1e-9
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(1))
        pm.NormalMixture("y", w=w, mu=[0.0], sigma=1.0, observed=np.zeros(4))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    vector = simulator.parameters.unconstrain(parameters)
    assert vector.shape == (3, 0)
    assert simulator.parameters.constrain(vector)["w"].tolist() == [[1.0]] * 3


def test_no_indicator_is_allowed_and_said():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    simulator = pma.compile_simulator(model, device="cpu")
    assert simulator.spec.indicators == ()
    assert "no indicator" in repr(simulator.spec)
    assert simulator.sample(4).indicators == {}


def test_non_finite_simulations():
    with pm.Model() as model:
        rate = pm.Normal("rate", 600, 200)
        pm.Normal("y", pt.exp(rate), 1, observed=np.zeros(3))
    simulator = pma.compile_simulator(model, device="cpu")
    with pytest.raises(errors.NonFiniteSimulationError, match="'y' is NaN or infinite") as info:
        simulator.sample(100, random_seed=1)
    assert info.value.variable == "y"
    assert float(info.value.parameters["rate"]) > 700


DEVICES = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


@pytest.mark.parametrize("device", [name for name, is_there in DEVICES.items() if not is_there])
def test_a_device_asked_for_and_absent(device):
    with pm.Model() as model:
        observed()
    with pytest.raises(errors.DeviceError, match="device='auto'") as error:
        pma.compile_simulator(model, device=device)
    assert device.upper() in str(error.value)


def test_other_arguments():
    with pm.Model() as model:
        observed()
    with pytest.raises(errors.ModelReadingError, match="backend"):
        pma.compile_simulator(model, backend="jax")
    with pytest.raises(errors.DeviceError, match="Expected a device"):
        pma.compile_simulator(model, device="quantum")
    with pytest.raises(errors.ModelReadingError, match="positive number"):
        pma.compile_simulator(model, device="cpu").sample(0)


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_a_distribution_that_cannot_be_simulated():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.CustomDist("y", mu, logp=lambda value, mu: -((value - mu) ** 2), observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="y to have a way to be simulated"):
        pma.compile_simulator(model, device="cpu")


def test_shapes_that_follow_parameters():
    """``zeros_like`` and ``ones_like`` of a parameter have its shape, for priors and weights."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 0, 2], 1)
        shift = pm.Normal("shift", pt.zeros_like(mu), 1)
        w = pm.Dirichlet("w", pt.ones_like(mu))
        pm.NormalMixture("y", w, mu + shift, sigma=1, observed=np.zeros(5))
    simulator = pma.compile_simulator(model, device="cpu")
    assert [p.shape for p in simulator.spec.parameters] == [(3,), (3,), (3,)]
    assert simulator.spec.indicators[0].num_components == 3
    draws = simulator.sample(20_000, random_seed=1)
    assert abs(float(draws.parameters["w"].mean()) - 1 / 3) < 0.01


def test_fallback_says_so_by_name_once():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.HyperGeometric("n", 20, 7, 12, observed=np.array([3, 4, 5]))
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    with pytest.warns(errors.BackendFallbackWarning, match="'hypergeometric'.*n will be"):
        simulator = pma.compile_simulator(model, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draws = simulator.sample(4_000, random_seed=1).observations["n"].double()
    assert abs(float(draws.mean()) - 12 * 7 / 20) < 0.1
    with pytest.raises(errors.UnconvertibleOpError, match="hypergeometric"):
        pma.compile_simulator(model, device="cpu", backend="torch")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_the_gpu(case, simulators, references):
    model, _ = simulators(case.name)
    simulator = pma.compile_simulator(model, device="cuda")
    simulation = simulator.sample(20_000, random_seed=1)
    everything = {**simulation.parameters, **simulation.indicators, **simulation.observations}
    assert all(tensor.device.type == "cuda" for tensor in everything.values())
    draws = {name: tensor.cpu().numpy() for name, tensor in everything.items()}
    p_value, where = smallest_p_value(draws, references(case.name))
    assert p_value > LEVEL, where
