"""The density is that of PyMC: on the marginal model, Jacobian included, with its gradient."""

import itertools
import warnings

import numpy as np
import pymc as pm
import pytest
import torch

from pymc.model.transform.optimization import freeze_dims_and_data
from pymc_extras import marginalize

from pymc_amortized.compat import reference_mode
from tests.cases import CASES

pytestmark = pytest.mark.usefixtures("interpreted")


NUM_POINTS = 8


WITH_DENSITY = [c for c in CASES if c.has_density]


@pytest.fixture(params=WITH_DENSITY, ids=lambda c: c.name)
def dense(request, simulators):
    model, simulator = simulators(request.param.name)
    parameters = simulator.sample(NUM_POINTS, random_seed=5).parameters
    vector = simulator.parameters.unconstrain(parameters)
    return request.param, model, simulator, vector


def log_joint(simulator, vector):
    density = simulator.density
    log_prior = density.log_prior(simulator.parameters.split(vector))
    constrained = simulator.parameters.constrain(vector)
    return log_prior + density.log_marginal(constrained, simulator.observed_data)


def point(model, simulator, vector, row):
    values = simulator.parameters.split(vector[row : row + 1])
    return {
        model.rvs_to_values[model[name]].name: value[0].numpy() for name, value in values.items()
    }


def reference(case, model, simulator):
    """Return PyMC's own log density, and its gradient where PyMC has one."""
    if case.marginal == "enumerate":
        return by_enumeration(model, simulator), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        marginal = model
        if case.marginal == "marginalize":
            marginal = marginalize(freeze_dims_and_data(model), ["z"])
        if case.unmasked:
            marginal = without_missing(case)
        mode = reference_mode()
        variables = [marginal[name] for name in simulator.parameters.names]
        return marginal.compile_logp(mode=mode), marginal.compile_dlogp(variables, mode=mode)


def without_missing(case):
    """The masked mixture, with the missing units left out."""
    from tests.cases import Y, _mixture_parameters

    with pm.Model() as model:
        w, mu, sigma = _mixture_parameters()
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=Y[case.unmasked["y"]])
    return model


def by_enumeration(model, simulator):
    """Sum the complete-data model over every value of its indicator."""
    [spec] = simulator.spec.indicators
    free = [v for v in model.free_RVs if not v.name.endswith("_unobserved")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        terms = model.logp(vars=[*free, *model.observed_RVs], sum=False)
        total = sum(term.sum() for term in terms)
        values = [model.rvs_to_values[v] for v in free]
        compiled = model.compile_fn(total, inputs=values, mode=reference_mode())

    def logp(at):
        paths = itertools.product(spec.support, repeat=int(np.prod(spec.units)))
        each = [float(compiled({**at, "z": np.array(path).reshape(spec.units)})) for path in paths]
        return np.logaddexp.reduce(each)

    return logp


def test_log_density_and_gradient(dense):
    case, model, simulator, vector = dense
    logp, gradient = reference(case, model, simulator)
    vector = vector.clone().requires_grad_()
    ours = log_joint(simulator, vector)
    assert ours.dtype == torch.float64
    points = [point(model, simulator, vector.detach(), row) for row in range(NUM_POINTS)]
    expected = np.array([float(logp(at)) for at in points])
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-8, atol=1e-8)
    if gradient is None:
        return
    [our_gradient] = torch.autograd.grad(ours.sum(), vector)
    expected = np.stack([gradient(at) for at in points])
    scale = np.abs(expected).max() + 1
    np.testing.assert_allclose(our_gradient.numpy(), expected, rtol=1e-6, atol=1e-9 * scale)


@pytest.mark.parametrize("name", [c.name for c in CASES if c.marginal == "enumerate"])
def test_gradient_by_differences_where_pymc_has_none(name, simulators):
    _, simulator = simulators(name)
    parameters = simulator.sample(2, random_seed=5).parameters
    vector = simulator.parameters.unconstrain(parameters).requires_grad_()
    [gradient] = torch.autograd.grad(log_joint(simulator, vector).sum(), vector)
    step = 1e-5
    for column in range(vector.shape[1]):
        shift = torch.zeros_like(vector)
        shift[:, column] = step
        with torch.no_grad():
            higher, lower = (log_joint(simulator, vector + s * shift) for s in (1, -1))
        slope = (higher - lower) / (2 * step)
        torch.testing.assert_close(gradient[:, column], slope, rtol=1e-5, atol=1e-5)


def test_a_planted_fault_is_seen(simulators):
    """The comparison must fail when the Jacobian is left out."""
    model, simulator = simulators("normal_mixture_ordered")
    parameters = simulator.sample(1, random_seed=5).parameters
    vector = simulator.parameters.unconstrain(parameters)
    logp = model.compile_logp(jacobian=False, mode=reference_mode())
    wrong = float(logp(point(model, simulator, vector, 0)))
    assert abs(wrong - float(log_joint(simulator, vector))) > 1e-3


def test_shapes(dense):
    _, _, simulator, vector = dense
    parameters = simulator.parameters.constrain(vector)
    for spec in simulator.spec.indicators:
        table = simulator.density.log_likelihood(
            parameters, simulator.observed_data, indicator=spec.name
        )
        assert table.shape == (NUM_POINTS, *spec.units, spec.num_components)
    assert simulator.density.log_marginal(parameters, simulator.observed_data).shape == (8,)


def test_data_sets_paired_with_draws(dense):
    """A tensor of data, one set per draw, gives what the sets give one by one."""
    _, _, simulator, _ = dense
    simulation = simulator.sample(4, random_seed=9)
    together = simulator.density.log_marginal(simulation.parameters, simulation.observations)
    for row in range(4):
        parameters = {k: v[row : row + 1] for k, v in simulation.parameters.items()}
        data = {k: v[row].numpy() for k, v in simulation.observations.items()}
        alone = simulator.density.log_marginal(parameters, data)
        torch.testing.assert_close(alone[0], together[row], rtol=1e-9, atol=1e-9)


def test_indicators_given_parameters(dense):
    """exp log p(z given θ), summed over all z, is 1."""
    _, _, simulator, vector = dense
    [spec] = simulator.spec.indicators
    parameters = simulator.parameters.constrain(vector[:1])
    paths = np.array(list(itertools.product(spec.support, repeat=int(np.prod(spec.units)))))
    indicators = {spec.name: torch.as_tensor(paths.reshape(-1, *spec.units))}
    repeated = {k: v.expand(len(paths), *v.shape[1:]) for k, v in parameters.items()}
    log_probs = simulator.density.log_indicators(repeated, indicators)
    assert abs(float(log_probs.logsumexp(0))) < 1e-9


def test_marginal_is_the_sum_of_the_complete_data(dense):
    _, _, simulator, vector = dense
    [spec] = simulator.spec.indicators
    parameters = simulator.parameters.constrain(vector[:1])
    density, data = simulator.density, simulator.observed_data
    paths = np.array(list(itertools.product(spec.support, repeat=int(np.prod(spec.units)))))
    z = torch.as_tensor(paths.reshape(-1, *spec.units))
    repeated = {k: v.expand(len(paths), *v.shape[1:]) for k, v in parameters.items()}
    table = density.log_likelihood(repeated, data).gather(-1, z.unsqueeze(-1) - spec.support[0])
    joint = density.log_indicators(repeated, {spec.name: z}) + table.flatten(1).sum(1)
    for o in simulator.spec.observations:
        if (o.owner < 0).any():
            joint = joint + density.log_without_unit(repeated, data, o.name).sum(-1)
    torch.testing.assert_close(
        joint.logsumexp(0), density.log_marginal(parameters, data)[0], rtol=1e-9, atol=1e-9
    )


def test_exchangeable_components_can_be_permuted(dense):
    """By the density, in every case: of parameters alone, in which Jacobians do not change."""
    _, _, simulator, vector = dense
    parameters = simulator.parameters.constrain(vector)
    for found in simulator.exchangeable:
        order = torch.arange(found.num_labels)
        for block in found.blocks:
            order[list(block)] = order[list(block)].roll(1)
        moved = found.parts.permuted(parameters, order.expand(len(vector), -1))
        again = simulator.parameters.unconstrain(moved)
        before, after = (log_joint(simulator, x) for x in (vector, again))
        torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-8)
        assert found.num_labels in {i.num_components for i in simulator.spec.indicators}
