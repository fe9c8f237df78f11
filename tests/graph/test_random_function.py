"""Functions that draw a variable: called once per batch where they take one, and right anyway."""

import logging
import warnings

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.graph.callbacks import random_function
from tests.two_sample import LEVEL, smallest_p_value

N = 6


class Counted:
    """A function that counts its calls of many data sets, and of one."""

    def __init__(self, function):
        self.function, self.many, self.one = function, 0, 0

    def __call__(self, mu, sigma, rng=None, size=None):
        is_one = np.ndim(mu) < 2
        self.one, self.many = self.one + is_one, self.many + (not is_one)
        return self.function(mu, sigma, rng, size)


def numpy_style(mu, sigma, rng, size):
    return rng.normal(mu, sigma, size=size)


def first_row(mu, sigma, rng, size):
    return rng.normal(np.ravel(mu)[0], np.ravel(sigma)[0], size=size)


def shared_noise(mu, sigma, rng, size):
    return mu + sigma * rng.normal(size=size[-1]) + np.zeros(size)


def mixed_rows(mu, sigma, rng, size):
    return rng.normal(np.roll(mu, 1, axis=0), sigma, size=size)


def averaged(mu, sigma, rng, size):
    return rng.normal(np.mean(mu), sigma, size=size)


def sorted_over_data_sets(mu, sigma, rng, size):
    return (
        np.sort(rng.normal(mu, sigma, size=size), axis=0)
        if len(size) > 1
        else rng.normal(mu, sigma, size)
    )


def wrong_axis(mu, sigma, rng, size):
    return rng.normal(np.ravel(mu), np.ravel(sigma), size=size[::-1]).T + 0 * mu.T


def scalars_only(mu, sigma, rng, size):
    return rng.normal(mu.item(), sigma.item(), size=size)


def ignores_size(mu, sigma, rng, size):
    return rng.normal(np.ravel(mu)[0], np.ravel(sigma)[0], size=N)


def one_model(function):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        sigma = pm.Gamma("sigma", 4, 4)
        pm.CustomDist("y", mu, sigma, random=function, observed=np.zeros(N))
    return model


def draws_of(simulator, seed=1, count=4_000):
    simulation = simulator.sample(count, random_seed=seed)
    together = {**simulation.parameters, **simulation.observations}
    return {name: x.numpy() for name, x in together.items()}


def expected(count=4_000):
    rng = np.random.default_rng(3)
    mu, sigma = rng.normal(0, 2, count), rng.gamma(4, 1 / 4, count)
    y = rng.normal(mu[:, None], sigma[:, None], (count, N))
    return {"mu": mu, "sigma": sigma, "y": y}


def test_a_function_that_takes_many_is_called_once_and_said_once(caplog):
    function = Counted(numpy_style)
    model = one_model(function)
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="pymc_amortized"):
        warnings.simplefilter("error", errors.BackendFallbackWarning)
        simulator = pma.compile_simulator(model, device="cpu")
        pma.compile_simulator(model, device="cpu")
    said = [r.getMessage() for r in caplog.records if "at once" in r.getMessage()]
    assert len(said) == 1
    assert "CustomDist_y" in said[0]
    before = function.one, function.many
    draws = draws_of(simulator)
    assert (function.one, function.many) == (before[0], before[1] + 1)
    p_value, where = smallest_p_value(draws, expected())
    assert p_value > LEVEL, where
    again = draws_of(simulator)
    assert np.array_equal(draws["y"], again["y"])


FAULTY = [
    first_row,
    shared_noise,
    mixed_rows,
    averaged,
    sorted_over_data_sets,
    wrong_axis,
    scalars_only,
    ignores_size,
]


@pytest.mark.parametrize("function", FAULTY, ids=lambda f: f.__name__)
def test_functions_that_look_vectorized_and_are_not_are_refused(function):
    with pytest.raises(
        errors.UnconvertibleOpError, match=r"'CustomDist_y'.*one data set at a time"
    ):
        pma.compile_simulator(one_model(Counted(function)), device="cpu", backend="torch")


def test_a_slow_function_is_not_tried(monkeypatch):
    """A trial takes 512 calls of one data set, which are hours of one that simulates for long."""
    monkeypatch.setattr(random_function, "_MAX_SECONDS", 0.0)
    function = Counted(numpy_style)
    with pytest.raises(errors.UnconvertibleOpError, match="to try whether it takes many"):
        pma.compile_simulator(one_model(function), device="cpu", backend="torch")
    assert function.one < 10
    assert not function.many


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
@pytest.mark.parametrize("function", [mixed_rows, scalars_only], ids=lambda f: f.__name__)
def test_functions_that_are_refused_are_right_in_pytensor(function):
    with pytest.warns(
        errors.BackendFallbackWarning, match="'CustomDist_y'.*one data set at a time"
    ):
        simulator = pma.compile_simulator(one_model(function), device="cpu")
    p_value, where = smallest_p_value(draws_of(simulator), expected())
    assert p_value > LEVEL, where


def test_without_the_trial_a_fault_would_be_in_the_simulations():
    """A planted fault: a function that draws from the first row, told to take many."""
    rng = np.random.default_rng(1)
    faulty = expected()
    faulty["y"] = first_row(faulty["mu"][:, None], faulty["sigma"][:, None], rng, (4_000, N))
    p_value, _ = smallest_p_value(faulty, expected())
    assert p_value < 1e-6


def epidemic(rng, beta, gamma, times, size=None):
    """New infections (*batch, times) of a stochastic SIR model of 1,000 persons."""
    susceptible, infected, new = 990, 10, []
    for _ in range(times.shape[-1]):
        infections = rng.binomial(susceptible, 1 - np.exp(-beta * infected / 1_000))
        recoveries = rng.binomial(infected, 1 - np.exp(-gamma))
        susceptible = susceptible - infections
        infected = infected + infections - recoveries
        new.append(infections)
    return np.stack(new, axis=-1)


def simulator_model(**options):
    with pm.Model() as model:
        beta = pm.LogNormal("beta", -0.7, 0.5)
        gamma = pm.LogNormal("gamma", -1.6, 0.4)
        days = np.arange(12.0)
        options = {"signature": "(),(),(t)->(t)", "dtype": "int64", **options}
        pm.Simulator("y", epidemic, beta, gamma, days, observed=np.zeros(12, int), **options)
    return model


@pytest.mark.parametrize("options", [{}, {"distance": "laplace", "sum_stat": "sort", "epsilon": 3}])
def test_a_simulator_is_read_without_a_density(options):
    simulator = pma.compile_simulator(simulator_model(**options), device="cpu")
    assert not simulator.spec.has_density
    assert "pm.Simulator has no density" in repr(simulator.spec)
    draws = draws_of(simulator, count=3_000)
    rng = np.random.default_rng(4)
    pairs = zip(draws["beta"], draws["gamma"], strict=True)
    days = np.arange(12.0)
    singly = np.stack([epidemic(rng, beta, gamma, days) for beta, gamma in pairs])
    p_value, where = smallest_p_value({"y": draws["y"]}, {"y": singly})
    assert p_value > LEVEL, where


def location(rng, mu, size):
    return rng.normal(mu, 1.0, size=size)


def test_components_and_parameters_that_are_simulators():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", [-3, 3], 1)
        components = [pm.Simulator.dist(location, mu[k], class_name=f"C{k}") for k in range(2)]
        pm.Mixture("y", w=w, comp_dists=components, observed=np.zeros(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.BackendFallbackWarning)
        simulator = pma.compile_simulator(model, device="cpu")
        simulation = simulator.sample(4_000, random_seed=1)
    assert not simulator.spec.has_density
    mu, z = simulation.parameters["mu"], simulation.indicators["y_component"]
    rest = (simulation.observations["y"] - mu.gather(1, z)).numpy()
    noise = np.random.default_rng(1).normal(size=rest.shape)
    p_value, where = smallest_p_value({"e": rest}, {"e": noise})
    assert p_value > LEVEL, where


def test_one_data_set_at_a_time_with_an_axis_too_many_is_refused():
    """Of such an array PyTensor takes the first number for all, as ``pm.draw`` does."""

    def one_only(slope, rng=None, size=None):
        slope = np.asarray(slope, dtype=float)
        if slope.size > 1:
            raise ValueError("one at a time")
        return slope.reshape(-1)[:, None] * np.arange(5.0)

    with pm.Model() as model:
        slope = pm.Uniform("slope", 1, 2)
        pm.CustomDist("y", slope, random=one_only, observed=np.zeros(5))
    with pytest.raises(errors.UnsupportedModelError, match=r"'CustomDist_y' to return 1 axes"):
        pma.compile_simulator(model)
