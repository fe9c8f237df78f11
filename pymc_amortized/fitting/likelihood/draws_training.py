"""Training of a likelihood network on draws of its distribution."""

import copy
import math

from collections.abc import Iterator

import torch

from torch import Tensor

from pymc_amortized.errors import TrainingError
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork

__all__ = ["train_likelihood"]

_BATCH = 512
_FIRST_CYCLE, _NUM_CYCLES = 500, 5
_RATE = 3e-3
_DECAY = 1e-2
_LEAST_GAIN = 1e-3  # in nats, of a cycle that another one is to follow
_CHECKS = 10  # of what is held out, in a cycle
_CLIP = 5.0
_MOST_HELD_OUT = 10_000


def train_likelihood(
    network: LikelihoodNetwork,
    training: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    seed: int,
    name: str = "y",
) -> float:
    """Train a network, and leave in it the weights that were best on what is held out.

    The learning rate goes through cycles, each twice as long as the one before and begun at the
    best weights so far, until one does not lower the loss.

    Parameters
    ----------
    network : LikelihoodNetwork
        With scales fitted; changed in place.
    training, held_out : pair of Tensor, shapes (M, A) and (M, P)
        Arguments and values.
    seed : int
        Of the order of draws.
    name : str
        Of the distribution, for errors.

    Returns
    -------
    float
        The loss on what is held out, in nats per draw.

    Raises
    ------
    TrainingError
        If no loss was finite.
    """
    generator = torch.Generator(device=training[0].device).manual_seed(seed)
    held_out = tuple(x[:_MOST_HELD_OUT] for x in held_out)
    best, weights = math.inf, copy.deepcopy(network.state_dict())
    for cycle in range(_NUM_CYCLES):
        before = best
        network.load_state_dict(weights)
        for loss in _cycle(network, training, held_out, _FIRST_CYCLE * 2**cycle, generator):
            if loss < best:
                best, weights = loss, copy.deepcopy(network.state_dict())
        if best > before - _LEAST_GAIN:
            break
    if not math.isfinite(best):
        raise TrainingError(
            f"Expected finite densities of {name!r} by its likelihood network; on what is held "
            "out, none was. Keep the prior away from parameters that give extreme data, or leave "
            "the network out:\n\n    pma.fit(model)",
            variable=name,
        )
    network.load_state_dict(weights)
    network.eval()
    return best


def _cycle(
    network: LikelihoodNetwork,
    training: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    num_steps: int,
    generator: torch.Generator,
) -> Iterator[float]:
    """Take steps of a cycle, and yield the loss on what is held out from time to time."""
    arguments, values = training
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=num_steps)
    for step in range(num_steps + 1):
        if step % max(1, num_steps // _CHECKS) == 0:
            with torch.no_grad():
                yield float(-network.log_prob(*held_out).mean())
        if step == num_steps:
            return
        rows = torch.randint(
            len(arguments), (_BATCH,), generator=generator, device=arguments.device
        )
        loss = -network.log_prob(arguments[rows], values[rows]).mean()
        optimizer.zero_grad()
        if bool(torch.isfinite(loss)):
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimizer.step()
        schedule.step()
