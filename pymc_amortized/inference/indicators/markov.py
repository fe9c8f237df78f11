"""States of Markov chains: filtered, smoothed, and drawn as joint paths."""

import math

from collections.abc import Iterator

import torch

from torch import Tensor

from pymc_amortized.discrete import (
    MarkovChain,
    decode,
    sample_paths,
    smooth,
    viterbi,
)
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.conditional import (
    AbstractConditional,
    IndicatorDraws,
    mean_divergence,
    smallest_type,
)

__all__ = ["MarkovConditional"]


class MarkovConditional(AbstractConditional):
    """Markov chains with their emissions given one data set.

    Emissions are exact where the model has a density, and otherwise those of the classification
    network.
    """

    def draw(self, draws: Draws, generator: torch.Generator) -> IndicatorDraws:
        """Draw a joint path for each draw of the parameters."""
        num_draws, (lowest, *_) = len(draws), self.indicator.support
        dtype = smallest_type(self.indicator.support)
        paths, filtering, smoothing = [], 0.0, 0.0
        for chain, count in self.chains(draws):
            decoded = decode(chain, generator)
            repeated = count // len(decoded.paths)  # without parameters there is one chain for all
            filtering = filtering + decoded.filtering.sum(0) * repeated
            smoothing = smoothing + decoded.smoothing.sum(0) * repeated
            codes = decoded.paths
            if repeated > 1:
                codes = sample_paths(chain, repeated, generator)[:, 0]
            paths.append((codes + lowest).to(dtype))
        return IndicatorDraws(
            torch.cat(paths),
            smoothing / num_draws,
            self._gap(draws),
            filtering=filtering / num_draws,
            viterbi=(self._find_most_probable(draws) + lowest).to(dtype),
        )

    def memberships(self, draws: Draws) -> Iterator[Tensor]:
        """Yield smoothing p(z_t = k given y, θ) (s, *units, K) for pieces of draws, in order."""
        for chain, count in self.chains(draws):
            smoothing = smooth(chain).exp()
            yield smoothing.expand(count, *smoothing.shape[1:])

    def chains(self, draws: Draws) -> Iterator[tuple[MarkovChain, int]]:
        """Yield Markov chains, batch (s, *chains), and of how many draws they are."""
        return (
            self._chains_by_network(draws)
            if self.problem.exact is None
            else self._chains_by_density(draws)
        )

    def _find_most_probable(self, draws: Draws) -> Tensor:
        """Return the most probable path (*chains, T) under the most probable draw."""
        score = draws.log_q if draws.log_joint is None else draws.log_joint
        best = draws.select(score.argmax().unsqueeze(0))
        [(chain, _)] = self.chains(best)
        return viterbi(chain).path[0]

    def _chains_by_density(self, draws: Draws) -> Iterator[tuple[MarkovChain, int]]:
        exact = self.problem.exact
        parameters = {name: x.unsqueeze(1) for name, x in draws.parameters.items()}
        for piece in exact.pieces(parameters, self.frames):
            part = {name: x[piece] for name, x in parameters.items()}
            chain = exact.chain(self.indicator, part, self.frames)
            yield (
                _drop_data_set_axis(chain),
                len(range(*piece.indices(len(draws)))) if part else len(draws),
            )

    @torch.no_grad()
    def _chains_by_network(self, draws: Draws) -> Iterator[tuple[MarkovChain, int]]:
        units, features = self.units, self.features(draws)
        tables = self.problem.layout.units(self.frames)
        observed = tables[self.table].values[0, :, -1] > 0
        distribution = self.problem.simulator.indicator_distribution(self.indicator.name)
        step = self.draws_at_once
        for start in range(0, len(features), step):
            part = features[start : start + step]
            log_q = self.estimator.classify(self.table, units.repeat(len(part)), part)
            log_q = log_q.double()[:, :, 0]
            log_q = torch.where(observed.unsqueeze(-1), log_q, 0.0)
            values = [
                draws.parameters[p.name][start : start + step].double()
                for p in self.problem.spec.parameters
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

    def _gap(self, draws: Draws) -> float:
        few = self.draws_for_gap(draws)
        if few is None:
            return math.nan
        exact = torch.cat([smooth(chain) for chain, _ in self._chains_by_density(few)])
        return mean_divergence(
            exact, torch.cat([smooth(c) for c, _ in self._chains_by_network(few)])
        )


def _drop_data_set_axis(chain: MarkovChain) -> MarkovChain:
    """Take the axis of data sets out of chains (S, 1, *chains)."""
    return MarkovChain(
        chain.log_initial[:, 0],
        chain.log_transition[:, 0],
        chain.log_emission[:, 0],
        chain.order,
        time_varying=chain.time_varying,
    )
