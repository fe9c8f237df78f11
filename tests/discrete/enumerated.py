"""Random chains, and all of their paths."""

import itertools

import torch

from pymc_amortized.discrete import (
    MarkovChain,
)


def random_chain(num_states, order, num_times, varying, masked, batch=()):
    generator = torch.Generator().manual_seed(num_states * 100 + num_times * 10 + order)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    initial = normal(*batch, num_states**order).log_softmax(-1)
    initial = initial.reshape(*batch, *(num_states,) * order)
    steps = (num_times - order,) if varying else ()
    transition = normal(*batch, *steps, *(num_states,) * (order + 1)).log_softmax(-1)
    emission = normal(*batch, num_times, num_states)
    mask = None
    if masked:
        mask = torch.rand(*batch, num_times, generator=generator) > 0.4
    return MarkovChain(initial, transition, emission, order, mask, varying)


def enumerate_paths(chain, until=None):
    """Return all paths and their joint log probabilities with the observations up to a time."""
    paths = torch.tensor(list(itertools.product(range(chain.num_states), repeat=chain.num_times)))
    order = chain.order
    log_prob = chain.log_initial[tuple(paths[:, lag] for lag in range(order))]
    for time in range(order, chain.num_times):
        matrix = chain.log_transition[time - order] if chain.time_varying else chain.log_transition
        log_prob = (
            log_prob + matrix[tuple(paths[:, time - order + lag] for lag in range(order + 1))]
        )
    for time in range(chain.num_times if until is None else until + 1):
        if chain.mask is None or chain.mask[time]:
            log_prob = log_prob + chain.log_emission[time, paths[:, time]]
    return paths, log_prob


def marginals(chain, paths, log_prob):
    posterior = log_prob.softmax(0)
    one_hot = torch.nn.functional.one_hot(paths, chain.num_states).double()
    return torch.einsum("p,ptk->tk", posterior, one_hot)
