"""Draws of Markov chains for each draw of the parameters: filtered, smoothed, as joint paths."""

import math

from collections.abc import Iterator

import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.discrete import (
    MarkovChain,
    decode,
    sample_paths,
    smooth,
    viterbi,
)
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.independent_units import (
    IndicatorDraws,
    draw_indicators,
    memberships,
)
from pymc_amortized.inference.indicators.learned_paths import draw_learned_paths
from pymc_amortized.inference.problem import ModelInference
from pymc_amortized.model.spec import IndicatorSpec

__all__ = ["ChainConditional", "draw_indicator", "draw_states", "state_memberships"]

_MAX_ROWS = 262_144
_DRAWS_FOR_GAP = 32


def draw_indicator(
    inference: ModelInference,
    indicator: IndicatorSpec,
    dataset: Dataset,
    draws: Draws,
    generator: torch.Generator,
) -> IndicatorDraws:
    """Draw an indicator of any kind for each draw of the parameters; see :func:`draw_states`."""
    draw = _DRAW[indicator.kind]
    return draw(inference, indicator, dataset, draws, generator)


def draw_states(
    inference: ModelInference,
    indicator: IndicatorSpec,
    dataset: Dataset,
    draws: Draws,
    generator: torch.Generator,
) -> IndicatorDraws:
    """Draw a joint path for each draw of the parameters, and average probabilities of states.

    Parameters
    ----------
    inference : ModelInference
        Whose model or network answers.
    indicator : IndicatorSpec
        A chain.
    dataset : Dataset
        The data.
    draws : Draws
        S draws of the parameters.
    generator : torch.Generator
        Of the randomness.
    """
    conditional = ChainConditional(inference, indicator, dataset)
    num_draws = draws.log_q.shape[0]
    paths, filtering, smoothing = [], 0.0, 0.0
    for chain, count in conditional.chains(draws):
        decoded = decode(chain, generator)
        repeated = count // len(decoded.paths)  # without parameters there is one chain for all
        filtering = filtering + decoded.filtering.sum(0) * repeated
        smoothing = smoothing + decoded.smoothing.sum(0) * repeated
        if repeated > 1:
            paths.append(sample_paths(chain, repeated, generator)[:, 0].to(torch.int16))
        else:
            paths.append(decoded.paths.to(torch.int16))
    return IndicatorDraws(
        torch.cat(paths).long() + indicator.support[0],
        smoothing / num_draws,
        conditional.gap(draws),
        filtering=filtering / num_draws,
        viterbi=conditional.viterbi(draws) + indicator.support[0],
    )


def state_memberships(
    inference: ModelInference, indicator: IndicatorSpec, dataset: Dataset, draws: Draws
) -> Iterator[Tensor]:
    """Yield p(z_i = k given y, θ) (s, *units, K) of an indicator of any kind; of chains, smoothing.

    Exact, for pieces of the draws, in their order.
    """
    if not indicator.is_sequence:
        yield from memberships(inference, indicator, dataset, draws)
        return
    for chain, count in ChainConditional(inference, indicator, dataset).chains(draws):
        smoothing = smooth(chain).exp()
        yield smoothing.expand(count, *smoothing.shape[1:])


class ChainConditional:
    """Chains with their emissions given one data set, for draws of the parameters.

    Emissions are exact where the model has a density, and otherwise those of the classification
    network.

    Parameters
    ----------
    inference : ModelInference
        Whose model or network answers.
    indicator : IndicatorSpec
        A chain.
    dataset : Dataset
        The data.
    """

    def __init__(
        self, inference: ModelInference, indicator: IndicatorSpec, dataset: Dataset
    ) -> None:
        self.inference, self.indicator = inference, indicator
        self.frames = dataset.frames.to(inference.device)
        self.table = inference.layout.table_of(indicator.name)

    def chains(self, draws: Draws) -> Iterator[tuple[MarkovChain, int]]:
        """Yield chains, batch (s, *chains), and of how many draws they are."""
        return self._by_network(draws) if self.inference.exact is None else self._by_density(draws)

    def viterbi(self, draws: Draws) -> Tensor:
        """Return the most probable path (*chains, T) under the most probable draw."""
        score = draws.log_q if draws.log_joint is None else draws.log_joint
        best = draws.select(score.argmax().unsqueeze(0))
        [(chain, _)] = self.chains(best)
        return viterbi(chain).path[0]

    def gap(self, draws: Draws) -> float:
        """Return how far the network's smoothing is from the exact one, in nats per time point."""
        inference = self.inference
        if inference.exact is None or inference.estimator is None or self.table is None:
            return math.nan
        if not inference.space.size:
            return math.nan
        few = draws.select(slice(_DRAWS_FOR_GAP))
        exact = torch.cat([smooth(chain) for chain, _ in self._by_density(few)])
        network = torch.cat([smooth(chain) for chain, _ in self._by_network(few)])
        terms = exact.exp() * (exact - network)
        return float(torch.where(exact.exp() > 0, terms, 0.0).sum(-1).mean())

    def _by_density(self, draws: Draws) -> Iterator[tuple[MarkovChain, int]]:
        exact = self.inference.exact
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        for piece in exact.pieces(parameters, self.frames):
            part = {name: x[piece] for name, x in parameters.items()}
            chain = exact.chain(self.indicator, part, self.frames)
            count = len(range(*piece.indices(draws.log_q.shape[0]))) if parameters else None
            yield _of_one(chain), draws.log_q.shape[0] if count is None else count

    @torch.no_grad()
    def _by_network(self, draws: Draws) -> Iterator[tuple[MarkovChain, int]]:
        inference = self.inference
        tables = inference.layout.units(self.frames)
        units = inference.estimator.scaled(tables)[self.table]
        observed = tables[self.table].values[0, :, -1] > 0
        features = inference.space.features(draws.vector, draws.parameters)
        distribution = inference.simulator.chain_distribution(self.indicator.name)
        step = max(1, _MAX_ROWS // units.mask.shape[1])
        for start in range(0, len(features), step):
            part = features[start : start + step]
            log_q = inference.estimator.classify(self.table, units.repeat(len(part)), part)
            log_q = log_q.double()[:, :, 0]
            log_q = torch.where(observed.unsqueeze(-1), log_q, 0.0)
            values = [
                draws.parameters[p.name][start : start + step].double()
                for p in inference.layout.spec.parameters
            ]
            yield (
                MarkovChain(
                    distribution.log_initial(values),
                    distribution.log_transition(values),
                    log_q.unflatten(1, (*self.indicator.units[:-1], -1)),
                    distribution.order,
                    time_varying=distribution.time_varying,
                ),
                len(part),
            )


def _of_one(chain: MarkovChain) -> MarkovChain:
    """Take the axis of data sets out of chains (S, 1, *chains)."""
    return MarkovChain(
        chain.log_initial[:, 0],
        chain.log_transition[:, 0],
        chain.log_emission[:, 0],
        chain.order,
        time_varying=chain.time_varying,
    )


_DRAW = {
    "independent": draw_indicators,
    "markov": draw_states,
    "simulated": draw_learned_paths,
}
