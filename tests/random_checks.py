"""What the package says of a random model, held against the truth of its generator."""

import numpy as np
import torch
import xarray

from pymc_amortized.labels.add_indicators import read_model, with_indicators

__all__ = ["NUM_DRAWS", "differences"]

NUM_DRAWS = 3


def differences(drawn, values):
    """Return the largest differences of log prior, log likelihood and memberships.

    Those of densities are relative to one plus their size.

    Parameters
    ----------
    drawn : RandomModel
        The model.
    values : dict of str to array, shape (S, *shape)
        Draws of all of its parameters.
    """
    problem = read_model(drawn.model, "cpu")
    simulator, density = problem.simulator, problem.simulator.density
    parameters = {name: torch.as_tensor(x) for name, x in values.items()}
    vector = simulator.parameters.unconstrain(parameters)
    log_prior = density.log_prior(simulator.parameters.split(vector))
    constrained = simulator.parameters.constrain(vector)
    log_marginal = density.log_marginal(constrained, simulator.observed_data)
    groups = with_indicators({"posterior": as_posterior(values)}, problem, 1)
    name = "smoothing" if drawn.is_chain else drawn.indicator
    memberships = np.asarray(groups["indicator_probabilities"][name])
    log_likelihood, truth = drawn.likelihood(values)
    assert memberships.shape == truth.shape[1:]
    return {
        "prior": relative(log_prior.numpy(), drawn.log_prior(values)),
        "likelihood": relative(log_marginal.numpy(), log_likelihood),
        "memberships": float(np.abs(memberships - truth.mean(0)).max()),
    }


def relative(ours, truth):
    return float((np.abs(ours - truth) / (1 + np.abs(truth))).max())


def as_posterior(values):
    """Return draws as one chain of a posterior."""
    variables = {
        name: (("chain", "draw", *(f"{name}_{axis}" for axis in range(x.ndim - 1))), x[None])
        for name, x in values.items()
    }
    size = len(next(iter(values.values()))) if values else NUM_DRAWS
    return xarray.Dataset(variables, coords={"chain": [0], "draw": np.arange(size)})
