"""The normalizing flow: a true density, and draws of it."""

import math

import pytest
import torch

import pymc_amortized.networks.posterior.spline_flow as flow_module

from pymc_amortized.networks.contracts import AbstractPosteriorNetwork
from pymc_amortized.networks.posterior.spline_flow import SplineFlow, rational_quadratic_spline


def randomized(flow, scale=0.3):
    """Weights far from those at the start, where a flow is the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return flow.double().eval()


def test_the_spline_is_its_own_inverse():
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-7, 7, 301, dtype=torch.float64)
    parameters = 2 * torch.randn(23, 301, generator=generator, dtype=torch.float64)
    y, log_derivative = rational_quadratic_spline(x, parameters, 5.0)
    back, log_inverse = rational_quadratic_spline(y, parameters, 5.0, inverse=True)
    assert torch.allclose(back, x, atol=1e-9)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-8)
    step = 1e-6
    above, _ = rational_quadratic_spline(x + step, parameters, 5.0)
    inside = (x.abs() - 5).abs() > 1e-3
    slope = ((above - y) / step).log()
    assert torch.allclose(slope[inside], log_derivative[inside], atol=1e-3)


@pytest.mark.parametrize("num_parameters", [1, 2, 5])
def test_a_flow_draws_from_its_density(num_parameters):
    flow = randomized(SplineFlow(num_parameters, 3, width=16))
    context = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        scores = flow.sample(context, 50, torch.Generator().manual_seed(0))
        log_q = flow.log_prob_of_draws(scores, context)
        repeated = context.expand(50, 2, 3).flatten(0, 1)
        again = flow.log_prob(scores.flatten(0, 1), repeated).unflatten(0, (50, 2))
    assert scores.shape == (50, 2, num_parameters)
    assert torch.allclose(log_q, again, atol=1e-9)


@pytest.mark.parametrize("num_parameters", [1, 2, 5])
def test_a_flow_draws_as_by_one_whole_pass_for_each_coordinate(num_parameters):
    """Hidden units are evaluated once each; the plain algorithm evaluates all of them D times."""
    flow = randomized(SplineFlow(num_parameters, 3, num_layers=1, width=16))
    [layer] = flow.flow.flows
    base = torch.randn(40, num_parameters, dtype=torch.float64)
    context = torch.randn(40, 3, dtype=torch.float64)
    plain = base
    with torch.no_grad():
        for i in range(num_parameters):
            columns = layer._columns(plain)
            splines = layer._splines(columns, context)[i]
            value, _ = rational_quadratic_spline(base[:, i], splines, layer.bound, inverse=True)
            plain = torch.cat([plain[:, :i], value.unsqueeze(-1), plain[:, i + 1 :]], dim=-1)
        assert torch.allclose(layer(base, context)[0], plain, atol=1e-9)


def test_draws_of_many_data_sets_at_once(monkeypatch):
    flow = randomized(SplineFlow(3, 2, width=16))
    scores = 2 * torch.randn(30, 4, 3, dtype=torch.float64)
    context = torch.randn(4, 2, dtype=torch.float64)
    with torch.no_grad():
        plain = AbstractPosteriorNetwork.log_prob_of_draws(flow, scores, context)
        whole = flow.sample(context, 30, torch.Generator().manual_seed(0))
        monkeypatch.setattr(flow_module, "_ROWS_PER_THREAD", 14)
        assert torch.allclose(flow.log_prob_of_draws(scores, context), plain, atol=1e-9)
        pieces = flow.sample(context, 30, torch.Generator().manual_seed(0))
    assert torch.allclose(whole, pieces, atol=1e-9)


def test_a_flow_integrates_to_one():
    flow = randomized(SplineFlow(2, 3, width=16), scale=0.2)
    grid = torch.linspace(-9, 9, 901, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    context = torch.ones(1, 3, dtype=torch.float64).expand(len(points), -1)
    with torch.no_grad():
        total = flow.log_prob(points, context).exp().sum() * (grid[1] - grid[0]) ** 2
    assert math.isclose(float(total), 1.0, abs_tol=0.01)


def test_flow_coordinates_depend_on_those_before():
    flow = randomized(SplineFlow(3, 2, num_layers=1, width=16))
    [layer] = flow.flow.flows
    x = torch.randn(1, 3, dtype=torch.float64)
    context = torch.zeros(1, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer.inverse(v, context)[0], x)[
        0, :, 0
    ]
    assert torch.equal(jacobian.triu(1), torch.zeros(3, 3, dtype=torch.float64))
    assert bool((jacobian.tril(-1)[[1, 2, 2], [0, 0, 1]] != 0).all())


def test_draws_depend_on_the_generator_alone():
    flow = SplineFlow(2, 3)
    context = torch.zeros(1, 3)
    state = torch.get_rng_state()
    first = flow.sample(context, 5, torch.Generator().manual_seed(4))
    second = flow.sample(context, 5, torch.Generator().manual_seed(4))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
