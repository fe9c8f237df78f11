"""Densities that a model lacks, learned from its simulations."""

import time

from collections.abc import Mapping
from dataclasses import replace

import torch

from torch import Tensor

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import InvalidArgumentError, InvalidDataError, UnsupportedModelError
from pymc_amortized.fitting.likelihood.draws_training import train_likelihood
from pymc_amortized.inference.problem import Problem
from pymc_amortized.messages import log_info
from pymc_amortized.model.density.learned_likelihood import UnknownDistribution
from pymc_amortized.networks.build import Networks
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.rng import piece_seed
from pymc_amortized.simulation.simulated_data import Simulation
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.config import TrainingConfig

__all__ = ["learn_likelihood", "require_learnable", "with_likelihood"]

_DRAWS = 200_000
_FEWEST_DATASETS, _MOST_DATASETS = 2_000, 20_000
_FEWEST_DRAWS = 500
_SHARE_HELD_OUT = 0.1
_LARGEST_REPEATED = 0.01


def require_learnable(simulator: Simulator, config: TrainingConfig, layout: DataLayout) -> None:
    """Refuse, before anything is trained, what no likelihood network can be trained for.

    Raises
    ------
    UnsupportedModelError
        If the density of the model is known, or what it lacks cannot be learned.
    InvalidArgumentError
        If a budget of simulations is for chains of several lengths.
    """
    if simulator.unknown_distributions and config.simulations is not None:
        several = [t.name for t in layout.tables if t.is_sequence and t.resized]
        if several:
            raise InvalidArgumentError(
                f"Expected a budget of simulations of one size, to learn a likelihood from; "
                f"{several} are chains of several lengths. Leave out the budget, or the sizes:\n\n"
                "    pma.fit(model, networks=pma.Networks(likelihood=True))"
            )


def learn_likelihood(
    simulator: Simulator,
    layout: DataLayout,
    networks: Networks,
    seed: int,
    simulations: Simulation | SimulationTable | None,
) -> dict[str, LikelihoodNetwork]:
    """Return the densities that a model lacks, by the names of their distributions.

    Parameters
    ----------
    simulator, layout : Simulator, DataLayout
        The model, and how its data are laid out.
    networks : Networks
        How they are to be learned.
    seed : int
        Of the training.
    simulations : Simulation or SimulationTable, optional
        What to learn from: what the posterior network is trained on. By default, new ones.
    """
    drawn = _draws(simulator, layout, simulations, seed)
    return {
        unknown.name: _learn(
            unknown, simulator.draws_of(unknown, drawn), networks, piece_seed(seed, 5, i)
        )
        for i, unknown in enumerate(simulator.unknown_distributions)
    }


def with_likelihood(
    posterior: AmortizedPosterior, networks: Mapping[str, LikelihoodNetwork]
) -> AmortizedPosterior:
    """Return a posterior whose answers are corrected by densities that were learned."""
    before = posterior.inference.problem
    simulator = before.simulator.with_likelihood(networks)
    problem = Problem.of_model(simulator, before.layout, before.space, before.memory)
    return AmortizedPosterior(replace(posterior.inference, problem=problem), posterior.record)


def _draws(
    simulator: Simulator,
    layout: DataLayout,
    simulations: Simulation | SimulationTable | None,
    seed: int,
) -> Simulation:
    """Return simulations of the size of the model, with indicators."""
    if isinstance(simulations, SimulationTable):
        return simulations.as_simulation()
    if simulations is not None:
        return simulations
    wanted = _DRAWS // max(1, layout.entries)
    number = min(_MOST_DATASETS, max(_FEWEST_DATASETS, wanted))
    return simulator.sample(number, piece_seed(seed, 4, 0))


def _learn(
    unknown: UnknownDistribution,
    pairs: tuple[Tensor, Tensor],
    networks: Networks,
    seed: int,
) -> LikelihoodNetwork:
    """Learn the density of one distribution from draws of it, one data set after the other."""
    arguments, values = pairs
    _require_learnable_values(unknown, values)
    num_held_out = max(1, int(_SHARE_HELD_OUT * len(values)))
    training, held_out = (
        (arguments[part], values[part])
        for part in (slice(len(values) - num_held_out), slice(-num_held_out, None))
    )
    generator = torch.Generator(device=values.device).manual_seed(seed)
    shuffled = torch.randperm(len(training[0]), generator=generator, device=values.device)[:_DRAWS]
    training = tuple(x[shuffled] for x in training)
    build = LikelihoodNetwork if networks.likelihood is True else networks.likelihood
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(arguments.shape[-1], values.shape[-1], is_discrete=unknown.is_discrete).to(
            values.device
        )
    network.fit_scaling(*training)
    began = time.perf_counter()
    loss = train_likelihood(network, training, held_out, seed, unknown.name)
    log_info(
        f"The density of {unknown.name} was learned from {len(training[0]):,} draws in "
        f"{time.perf_counter() - began:.0f} s: {loss:.3f} nats per draw on what is held out."
    )
    return network


def _require_learnable_values(unknown: UnknownDistribution, values: Tensor) -> None:
    if len(values) < _FEWEST_DRAWS:
        raise InvalidDataError(
            f"Expected at least {_FEWEST_DRAWS:,} draws of {unknown.name!r} to learn its density "
            f"from; the simulations have {len(values):,}. Give it a larger weight, or simulate "
            "more:\n\n    pma.TrainingConfig(simulations=10_000)"
        )
    if unknown.is_discrete:
        return
    for d, column in enumerate(values.T):
        counts = column.unique(return_counts=True)[1]
        share = float(counts.max()) / len(column)
        if share > _LARGEST_REPEATED:
            place = f" at position {d} of the event" if values.shape[-1] > 1 else ""
            raise UnsupportedModelError(
                f"Expected continuous values of {unknown.name!r}, none of which come again; one"
                f"{place} makes up {share:.0%} of all, so that there is no density to learn. "
                "Declare counts as such, or take the network as it is:\n\n"
                '    pm.CustomDist("y", *parameters, random=random, dtype="int64", observed=data)\n'
                "    pma.fit(model)"
            )
