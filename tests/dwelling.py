"""States with a memory, of which a model says no probabilities, and what is exact about them."""

import itertools
import warnings

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import torch

from pymc.pytensorf import collect_default_updates

from pymc_amortized.discrete import MarkovChain, forward_filter, smooth

__all__ = ["compare_learned_paths", "dwelling"]

SHORTEST_STAY = 3


def dwelling(y):
    """Two states, each kept for at least three time points: drawn by a scan that counts them."""

    def states(leave, size):
        first = pm.Bernoulli.dist(0.5)

        def step(state, age, leave):
            moves = pm.Bernoulli.dist(pt.switch(age >= SHORTEST_STAY, leave, 0.0))
            following = pt.switch(pt.eq(moves, 1), 1 - state, state)
            return (
                following,
                pt.switch(pt.eq(moves, 1), 1, age + 1),
            ), collect_default_updates([moves])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            [rest, _], _ = pytensor.scan(
                step,
                outputs_info=[first, pt.constant(1, dtype="int64")],
                non_sequences=[leave],
                n_steps=len(y) - 1,
                strict=True,
            )
        return pt.concatenate([first[None], rest])

    with pm.Model(coords={"time": np.arange(len(y)) + 1, "state": ["low", "high"]}) as model:
        mu = pm.Normal("mu", 0, 1)
        leave = pm.Beta("leave", 4, 6)
        z = pm.CustomDist("z", leave, dist=states, signature="()->(t)", dtype="int64", dims="time")
        pm.Normal("y", mu + 1.5 * z, 1, observed=y, dims="time")
    return model


def exact_states(parameters, y):
    """Chains over (state, age), ages from 1 to the shortest stay, whose filters are exact."""
    num_datasets, ages = len(y), SHORTEST_STAY
    P = torch.zeros(num_datasets, 2 * ages, 2 * ages, dtype=torch.float64)
    leave = parameters["leave"].double()
    for state, age in itertools.product(range(2), range(ages)):
        row = state * ages + age
        if age < ages - 1:
            P[:, row, row + 1] = 1
        else:
            P[:, row, row] = 1 - leave
            P[:, row, (1 - state) * ages] = leave
    first = torch.zeros(num_datasets, 2 * ages, dtype=torch.float64)
    first[:, [0, ages]] = 0.5
    mean = parameters["mu"].double()[:, None, None] + 1.5 * torch.arange(2)
    emission = -0.5 * (y.double()[:, :, None] - mean).square()
    return MarkovChain(first.log(), P.log(), emission.repeat_interleave(ages, dim=-1))


def of_states(log_probs):
    """Sum probabilities (..., states and ages) over ages."""
    return log_probs.exp().unflatten(-1, (2, SHORTEST_STAY)).sum(-1)


def divergence(exact, found):
    """Nats per time point."""
    return float(torch.xlogy(exact, exact / found).sum(-1).mean())


def short_stays(paths):
    """Share of stays that are shorter than the model allows, those at the ends apart."""
    lengths = [np.diff(np.flatnonzero(np.diff(path))) for path in np.asarray(paths)]
    return (np.concatenate(lengths) < SHORTEST_STAY).mean()


@torch.no_grad()
def compare_learned_paths(posterior, num_datasets, seed):
    """Compare the network with a chain that counts ages, at known parameters of fresh data sets.

    Returns divergences in nats per time point, and shares of stays that are too short.
    """
    inference = posterior.inference
    source = inference.problem.source
    parameters, frames, codes = source.draw_frames(num_datasets, seed)
    exact = exact_states(parameters, frames.observations["y"][:, 0])
    [units] = inference.units(frames)
    features = inference.problem.space.features(
        inference.problem.space.unconstrain(parameters), parameters
    )
    generator = torch.Generator().manual_seed(0)
    draws = [inference.estimator.sample_paths(0, units, features, generator) for _ in range(20)]
    filtering = inference.estimator.filter_states(0, units, features).exp().double()
    smoothing = torch.stack([p for _, p in draws]).double().mean(0)
    filtered, smoothed = of_states(forward_filter(exact).log_filtering), of_states(smooth(exact))
    gaps = {
        "filtering": divergence(filtered, filtering),
        "smoothing": divergence(smoothed, smoothing),
        "filtering for smoothing": divergence(smoothed, filtering),
    }
    stays = {
        "simulated": short_stays(codes[0][..., 0]),
        "paths": short_stays(torch.cat([path for path, _ in draws])),
        "independent": short_stays(torch.bernoulli(smoothed[..., 1], generator=generator)),
    }
    return gaps, stays
