"""The tasks of the benchmark of simulation-based inference: read, simulated, and with a density."""

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats
from scipy.integrate import solve_ivp

import pymc_amortized as pma

from tests.benchmarks.sbi import TASKS, differential
from tests.benchmarks.sbi.observations import observation, reference
from tests.benchmarks.sbi.tasks import design_matrix, glm_precision
from tests.two_sample import LEVEL, smallest_p_value

SIZES = {
    "gaussian_linear": (10, 10),
    "gaussian_linear_uniform": (10, 10),
    "gaussian_mixture": (2, 2),
    "bernoulli_glm": (10, 10),
    "bernoulli_glm_raw": (10, 100),
    "slcp": (5, 8),
    "slcp_distractors": (5, 100),
    "two_moons": (2, 2),
    "sir": (2, 10),
    "lotka_volterra": (4, 20),
}
RANDOM = {
    "sir": (differential.sir_random, differential.draw_epidemics),
    "lotka_volterra": (differential.lotka_volterra_random, differential.draw_populations),
}
pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_read_with_its_density(name):
    simulator = pma.compile_simulator(TASKS[name](observation(name)), device="cpu")
    simulated = simulator.sample(50, 1)
    num_parameters, num_values = SIZES[name]
    assert simulated.parameters["theta"].shape == (50, num_parameters)
    assert simulated.observations["y"].reshape(50, -1).shape[1] == num_values
    assert simulator.density is not None


def log_likelihood(name, theta, y):
    """The formulas of the tasks, written down in NumPy; up to a number."""
    if name.startswith("gaussian_linear"):
        return stats.norm(theta, np.sqrt(0.1)).logpdf(y).sum()
    if name == "gaussian_mixture":
        parts = [stats.norm(theta, scale).logpdf(y).sum() for scale in (1, 0.1)]
        return np.logaddexp(*parts) - np.log(2)
    if name == "bernoulli_glm":
        return y @ theta - np.log1p(np.exp(design_matrix() @ theta)).sum()
    if name == "bernoulli_glm_raw":
        return stats.bernoulli(1 / (1 + np.exp(-design_matrix() @ theta))).logpmf(y).sum()
    if name.startswith("slcp"):
        s, t, rho = theta[2] ** 2, theta[3] ** 2, np.tanh(theta[4])
        covariance = [[s**2 + 1e-6, rho * s * t], [rho * s * t, t**2 + 1e-6]]
        if name == "slcp_distractors":
            inverse = np.argsort(_permutation())
            y = y[inverse][:8]
        return stats.multivariate_normal(theta[:2], covariance).logpdf(y.reshape(4, 2)).sum()
    if name == "two_moons":
        u = y[0] + abs(theta.sum()) / np.sqrt(2) - 0.25
        v = y[1] - (theta[1] - theta[0]) / np.sqrt(2)
        radius = np.hypot(u, v)
        return stats.norm(0.1, 0.01).logpdf(radius) - np.log(np.pi * radius) if u > 0 else -np.inf
    return solved(name, theta, y)


def _permutation():
    rng = np.random.RandomState(42)
    for _ in range(20):
        rng.normal(size=92)
    for _ in range(20):
        rng.normal(size=(92, 92))
        rng.normal(size=92)
    return rng.permutation(100)


def solved(name, theta, y):
    options = {"rtol": 1e-10, "atol": 1e-10, "method": "LSODA"}
    if name == "sir":

        def slope(t, x):
            new = theta[0] * x[0] * x[1] / 1e6
            return [-new, new - theta[1] * x[1]]

        days = np.arange(0, 154, 17)
        found = solve_ivp(slope, (0, 154), [1e6 - 1, 1], t_eval=days, **options).y[1]
        return stats.binom(1_000, np.clip(found / 1e6, 0, 1)).logpmf(y).sum()
    a, b, c, d = theta
    times = np.arange(0, 190, 21) / 10
    found = solve_ivp(
        lambda t, x: [a * x[0] - b * x[0] * x[1], d * x[0] * x[1] - c * x[1]],
        (0, 19),
        [30, 1],
        t_eval=times,
        **options,
    ).y
    return stats.lognorm(0.1, scale=np.clip(found.ravel(), 1e-10, 1e4)).logpdf(y).sum()


@pytest.mark.parametrize("name", TASKS)
def test_densities_are_those_of_the_formulas(name):
    """Differences between draws of the prior that are near to the data, at data of the task."""
    y = observation(name)
    simulator = pma.compile_simulator(TASKS[name](y), device="cpu")
    theta = near(name, simulator, y)
    parameters = {"theta": torch.as_tensor(theta)}
    found = simulator.density.log_marginal(parameters, simulator.observed_data).numpy().ravel()
    expected = np.array([log_likelihood(name, row, y) for row in theta])
    # Steps of the differential equations are finite.
    tolerance = 0.03 if name in RANDOM else 1e-6
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=tolerance, rtol=1e-3)
    assert np.ptp(expected) > 0.1


def near(name, simulator, y):
    """Six draws around what the data were made from, all of which the model can have made."""
    if name == "two_moons":
        return reference(name)[:6]
    prior = simulator.sample(4_000, 2).parameters["theta"].numpy()
    if name in RANDOM:
        score = [solved(name, row, y) for row in prior[:300]]
        return prior[np.argsort(score)[-6:]]
    return prior[:6]


BOXES = {
    "two_moons": (np.zeros(2), 1.0),
    "gaussian_mixture": (observation("gaussian_mixture"), 4.5),
}


@pytest.mark.parametrize("name", BOXES)
def test_draws_of_closed_forms_follow_the_density(name):
    """They have the law of uniform draws that are kept by the density; planted: they are moved."""
    y, (centre, width), rng = observation(name), BOXES[name], np.random.default_rng(3)
    simulator = pma.compile_simulator(TASKS[name](y), device="cpu")
    theta = centre + rng.uniform(-width, width, (1_000_000, 2))
    theta = theta[(np.abs(theta) < (1 if name == "two_moons" else 10)).all(1)]
    parameters = {"theta": torch.as_tensor(theta)}
    log_p = simulator.density.log_marginal(parameters, simulator.observed_data).numpy().ravel()
    kept = theta[rng.random(len(theta)) < np.exp(log_p - log_p.max())]
    assert len(kept) > 1_000
    draws = reference(name)
    for moved, is_right in ((0.0, True), (0.15 * draws.std(0), False)):
        p_value, where = smallest_p_value({"theta": draws + moved}, {"theta": kept})
        assert (p_value > LEVEL) == is_right, where


def test_draws_of_independent_closed_forms_have_their_marginals():
    y = observation("gaussian_linear")
    for draws, column in zip(reference("gaussian_linear").T, y, strict=True):
        assert stats.kstest(draws, stats.norm(column / 2, np.sqrt(0.05)).cdf).pvalue > 1e-5
    scale = np.sqrt(0.1)
    y = observation("gaussian_linear_uniform")
    for draws, column in zip(reference("gaussian_linear_uniform").T, y, strict=True):
        exact = stats.truncnorm((-1 - column) / scale, (1 - column) / scale, column, scale)
        assert stats.kstest(draws, exact.cdf).pvalue > 1e-5


@pytest.mark.parametrize("name", RANDOM)
def test_functions_that_draw_follow_the_same_equations(name):
    build, draw = RANDOM[name]
    y = observation(name)
    scan = pma.compile_simulator(TASKS[name](y), device="cpu")
    simulated = scan.sample(2_000, 1)
    theta = simulated.parameters["theta"].numpy()
    drawn = draw(theta, None, rng=np.random.default_rng(2))
    pairs = {"y": simulated.observations["y"].double().numpy()}, {"y": drawn.astype(float)}
    p_value, where = smallest_p_value(*pairs)
    assert p_value > LEVEL, where
    assert build(y).named_vars.keys() == TASKS[name](y).named_vars.keys()


def test_the_prior_of_the_spikes_has_the_precision_of_second_differences():
    precision = glm_precision()
    assert np.allclose(precision, precision.T)
    assert (np.linalg.eigvalsh(precision) > 0).all()
    draws = pm.draw(TASKS["bernoulli_glm"](np.zeros(10))["theta"], 4_000, random_seed=1)
    found = np.linalg.inv(np.cov(draws.T))
    np.testing.assert_allclose(found, precision, atol=0.12 * np.abs(precision).max())
