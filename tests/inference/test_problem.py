"""A model, how its data are laid out, and its density."""

import math

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

from pymc_amortized.compat import reference_mode
from pymc_amortized.data.frames import stack_frames
from pymc_amortized.errors import InvalidDataError, UnboundedDensityError
from pymc_amortized.inference import problem as problem_module
from tests.inference.untrained import COUNTS, Y, poisson, problem_of, two_components

X = np.arange(1.0, 6.0)


def regression(values=Y):
    with pm.Model() as model:
        x, y = pm.Data("x", X), pm.Data("values", values)
        slope = pm.Normal("slope", 0, 1)
        pm.Normal("y", slope * x, 1, observed=y)
    return model


def covariate_of_nothing():
    """The observed values alone are data that can be changed."""
    with pm.Model() as model:
        y = pm.Data("values", Y)
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=y)
    return model


def mixture_of_scales():
    """Parameters with transforms of all kinds."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.full(3, 2.0))
        sigma = pm.HalfNormal("sigma", 1, shape=3)
        low = pm.Uniform("low", -1, 1)
        pm.NormalMixture("y", w=w, mu=np.array([-1, 0, 2]) + low, sigma=sigma, observed=Y)
    return model


@pytest.mark.usefixtures("interpreted")
def test_the_joint_density_is_that_of_pymc():
    model = mixture_of_scales()
    problem, _ = problem_of(model)
    vector = torch.randn(6, 1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = problem.log_joint(vector, problem.read(None).frames)
    assert found.shape == (6, 1)
    logp = model.compile_logp(mode=reference_mode())
    values = problem.space.split(vector[:, 0])
    of_pymc = {"w": "w_simplex__", "sigma": "sigma_log__", "low": "low_interval__"}
    for s in range(6):
        point = {of_pymc[name]: x[s].numpy() for name, x in values.items()}
        assert math.isclose(float(found[s, 0]), float(logp(point)), rel_tol=1e-9)


def test_the_integral_over_standardized_parameters_is_the_evidence():
    """A grid of scores, for two data sets at once, against the conjugate answer."""
    problem, _ = problem_of(poisson())
    data = [COUNTS, COUNTS + 2]
    frames = stack_frames([problem.read({"y": y}).frames for y in data])
    grid = torch.linspace(-8, 8, 4_001, dtype=torch.float64)
    log_target = problem.log_target(grid.reshape(-1, 1, 1).expand(-1, 2, 1), frames)
    found = log_target.logsumexp(0) + math.log(grid[1] - grid[0])
    for b, y in enumerate(data):
        gamma = math.lgamma(2 + y.sum()) - (2 + y.sum()) * math.log(6) - math.lgamma(2)
        expected = gamma - sum(math.lgamma(1 + n) for n in y)
        assert abs(float(found[b]) - expected) < 1e-4
    assert problem.log_prior_mass == (0.0, 0.0)


def test_parameters_of_scores_lie_at_quantiles_of_the_prior():
    """Standardized parameters are standard normal where parameters are draws of the prior."""
    problem, _ = problem_of(poisson())
    scores = torch.tensor([-1.5, 0.0, 1.0]).double().reshape(3, 1, 1)
    vector, parameters, log_det = problem.parameters(scores)
    assert parameters["rate"].shape == log_det.shape == (3, 1)
    torch.testing.assert_close(vector[..., 0], parameters["rate"].log())
    level = stats.gamma(2).cdf(parameters["rate"].numpy()[:, 0])
    expected = stats.norm.cdf([-1.5, 0, 1])
    # Fitted to 4,000 draws: the standard error of a level is at most 0.008.
    assert np.abs(level - expected).max() < 0.04
    step = 1e-6
    higher, _, _ = problem.parameters(scores + step)
    slope = (higher - vector)[..., 0] / step
    torch.testing.assert_close(slope.log(), log_det, atol=1e-4, rtol=0)


def test_without_parameters_there_is_the_marginal_density_alone():
    with pm.Model() as model:
        pm.NormalMixture("y", w=[0.3, 0.7], mu=[-1, 2], sigma=1, observed=Y)
    problem, _ = problem_of(model)
    scores = torch.zeros(3, 1, 0).double()
    found = problem.log_target(scores, problem.read(None).frames)
    expected = np.log(stats.norm([-1, 2], 1).pdf(Y[:, None]) @ [0.3, 0.7]).sum()
    np.testing.assert_allclose(found, np.full((3, 1), expected))
    vector, parameters, log_det = problem.parameters(scores)
    assert (vector.shape, parameters, log_det.tolist()) == ((3, 1, 0), {}, [[0.0]] * 3)


def test_what_is_not_a_number_has_no_density():
    """Infinite coordinates, as a sampler may try them, and data that the model cannot produce."""
    problem, _ = problem_of(poisson())
    frames = problem.read(None).frames
    vector = torch.tensor([0.0, math.nan, math.inf, -math.inf]).double().reshape(4, 1, 1)
    found = problem.log_joint(vector, frames)[:, 0].tolist()
    assert math.isfinite(found[0])
    assert found[1:] == [-math.inf] * 3
    impossible = problem.read({"y": COUNTS - 5}).frames
    assert problem.log_joint(vector[:1], impossible).tolist() == [[-math.inf]]


def test_the_density_can_be_forgotten():
    problem, _ = problem_of(two_components())
    blind = problem.with_exact(None)
    assert blind.exact is None
    assert problem.exact is not None
    assert blind.simulator is problem.simulator
    assert blind.space is problem.space


@pytest.mark.parametrize(
    ("build", "changed", "data", "named"),
    [
        (regression, {"x": 5 * X}, None, ["x"]),
        (regression, {"x": 5 * X}, {"y": Y}, ["x"]),
        (regression, {"values": Y + 1}, None, ["values"]),
        (regression, {"x": 5 * X}, {"y": Y, "x": X}, []),
        (regression, {"values": Y + 1}, {"y": Y}, []),
        (covariate_of_nothing, {"values": Y + 1}, None, ["values"]),
        (covariate_of_nothing, {"values": Y + 1}, {"y": Y}, []),
        (covariate_of_nothing, {}, None, []),
    ],
)
def test_what_the_model_no_longer_holds_is_not_answered(build, changed, data, named):
    model = build()
    problem, _ = problem_of(model)
    before = problem.log_joint(torch.ones(1, 1, 1).double(), problem.read(None).frames)
    with model:
        pm.set_data(changed)
    if named:
        with pytest.raises(InvalidDataError, match=r"(?s)have been changed.*pma\.fit") as raised:
            problem.read(data)
        assert str(named) in str(raised.value)
    else:
        found = problem.log_joint(torch.ones(1, 1, 1).double(), problem.read(data).frames)
        torch.testing.assert_close(found, before)


def many_zeros():
    """Where nothing is observed, one branch of the density would have no finite derivative."""
    with pm.Model() as model:
        psi, rate = pm.Beta("psi", 2, 2), pm.Gamma("rate", 2, 1)
        pm.ZeroInflatedPoisson("y", psi, rate, observed=np.array([0, 0, 0, 1, 3]))
    return model


@pytest.mark.parametrize("build", [mixture_of_scales, regression, many_zeros])
def test_gradients_are_those_of_differences(build):
    problem, _ = problem_of(build())
    frames, size = problem.read(None).frames, problem.space.size
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 1, size, generator=generator, dtype=torch.float64)
    value, gradient = problem.log_target_with_gradient(scores, frames)
    torch.testing.assert_close(value, problem.log_target(scores, frames))
    for d in range(size):
        step = torch.zeros(size, dtype=torch.float64)
        step[d] = 1e-6
        ends = [problem.log_target(scores + sign * step, frames) for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(gradient[..., d], expected, rtol=1e-4, atol=1e-4)


def test_gradients_where_the_data_are_impossible_are_nothing():
    """One draw without a density does not spoil those of others."""
    with pm.Model() as model:
        high = pm.HalfNormal("high", 1)
        pm.Uniform("y", 0, high, observed=np.array([0.5, 0.8]))
    problem, _ = problem_of(model)
    scores = torch.tensor([-1.0, 1.0]).double().reshape(2, 1, 1)
    value, gradient = problem.log_target_with_gradient(scores, problem.read(None).frames)
    assert torch.isneginf(value[0, 0])
    assert bool(torch.isfinite(value[1, 0]) & torch.isfinite(gradient[1, 0, 0]))


def test_parameters_that_overflow_do_not_make_data_impossible(monkeypatch):
    """exp(3007) is infinite, and with it what PyMC says of a Weibull density of shape below 1."""
    with pm.Model() as model:
        a, shape = pm.Normal("a", 0, 1, shape=2), pm.Gamma("shape", 2, 2, shape=2)
        z = pm.Categorical("z", [0.5, 0.5], shape=2)
        pm.Weibull("y", shape[z], pm.math.exp(a[z]), observed=np.array([0.5, 1.5]))
    problem, _ = problem_of(model)
    frames = problem.read(None).frames
    near, far = [0.0, 0.0, 0.0, 0.0], [0.0, 3007.0, 0.0, -0.3]
    found = problem.log_joint(torch.tensor([[near], [far]], dtype=torch.float64), frames)
    assert bool(torch.isfinite(found[0]).all())
    assert bool(torch.isneginf(found[1]).all())
    monkeypatch.setattr(problem_module, "_FARTHEST", math.inf)
    with pytest.raises(UnboundedDensityError):  # so that the test tests something
        problem.log_joint(torch.tensor([[far]], dtype=torch.float64), frames)
