"""Adaptive importance sampling, for many data sets at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from torch import Tensor

from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.pool import Pool, Proposal, Target
from pymc_amortized.importance.student_mixture import StudentMixture, fit_student_mixture
from pymc_amortized.importance.weights import (
    Weights,
    differ,
    tempered,
    weigh,
)
from pymc_amortized.memory import MEMORY

__all__ = ["Rounds", "adapt"]

_ESS_TO_FIT = 100.0
_NUM_ROUNDS = 7
_NUM_CYCLES = 3
_NUM_MORE = 4
_MARGIN = 6.0
_SHARE_OF_FIRST, _SHARE_OF_GOOD = 0.1, 0.25
_GROWTH = 4
_GOOD_AT_ONCE = 0.5
_ROUNDS_OF_DRAWS = 2.5
_NUMBERS_PER_DRAW = 128  # that proposals and their weights are made of


@dataclass(frozen=True, slots=True)
class Rounds:
    """How mixtures are fitted.

    Attributes
    ----------
    num_new : int
        Draws in each round, at first.
    cycles : int
        How often mixtures are fitted anew, each time from four times as many draws.
    num_components : int or None
        Of each mixture; None for that of :func:`fit_student_mixture`.
    num_picked : int
        How many draws are picked by their weights in the end, hardly any of them twice.
    """

    num_new: int
    cycles: int = _NUM_CYCLES
    num_components: int | None = None
    num_picked: int = 1


def adapt(
    pool: Pool,
    target: Target,
    first: Proposal,
    rule: AcceptanceRule,
    wanted: float,
    rounds: Rounds,
    *,
    mixtures: Sequence[StudentMixture] = (),
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Pool, Weights]]:
    """Fit mixtures to weighted draws, and answer by new draws from mixtures that are fitted.

    In up to seven rounds a mixture is fitted to all draws so far, drawn from, and its draws weighed
    against all proposals together [1]_. Weights are tempered as long as hardly any draw has weight,
    so that the first mixtures are wide and move towards the target. Where draws of the first
    proposal are worth half of their number, one mixture is fitted to them, and there are no rounds;
    of new draws a quarter is then from the first proposal, beside which no weight is large.

    A mixture that was fitted to draws lies a little too much where they are, so that their weights
    are too small, and their sum with them. So they are left behind: the last two mixtures and the
    first proposal are drawn from anew, up to five times, until they are worth what is wanted and
    hardly any that is picked would be there twice; and nothing is fitted any more. Where weights of
    new draws cannot be relied on, or would need more than five times as many to be worth what is
    wanted, more mixtures are fitted to these, from four times as many draws in each round; as often
    as there are cycles left.

    Parameters
    ----------
    pool : Pool
        Draws of a first proposal, and of mixtures if there are any, for B data sets.
    target : callable
        Log density to be reached, and images of points.
    first : Proposal
        The first proposal.
    rule : AcceptanceRule
        When weighted draws are an answer.
    wanted : float
        Importance ESS that is enough.
    rounds : Rounds
        How many, and of what.
    mixtures : sequence of StudentMixture
        Other proposals of the pool, in order.
    generator : torch.Generator, optional
        Source of randomness.

    Yields
    ------
    index : Tensor of int64, shape (b,)
        Data sets that are done, or, at the end, are left.
    pool : Pool
        New draws of these.
    weights : Weights
        Of the draws.

    References
    ----------
    .. [1] Cappé, O., et al. (2008). Adaptive importance sampling in general mixture classes.
       Statistics and Computing 18, 447-459. Cornuet, J.-M., et al. (2012). Adaptive multiple
       importance sampling. Scandinavian Journal of Statistics 39(4).

    Examples
    --------
    A network that is off by three standard deviations, and five times too wide.

    >>> import math
    >>> from pymc_amortized.importance.evidence import log_mean_weight
    >>> generator = torch.Generator().manual_seed(1)
    >>> def target(points, index):
    ...     return -(points - 3).square().sum(-1) / 2, points
    >>> def log_prob(points, index):
    ...     return -points.square().sum(-1) / 50 - math.log(5)
    >>> def sample(number, index):
    ...     points = 5 * torch.randn(number, 1, 1, generator=generator).double()
    ...     return points, log_prob(points, index)
    >>> network = Proposal(sample, log_prob)
    >>> points, log_q = network.sample(500, None)
    >>> pool = Pool(points, *target(points, None), (log_q,), (500,))
    >>> rule, rounds = AcceptanceRule(), Rounds(1000)
    >>> found = adapt(pool, target, network, rule, 1500, rounds, generator=generator)
    >>> [(index, pool, weights)] = found
    >>> log_integral, _ = log_mean_weight(pool.log_weights)
    >>> (
    ...     bool(weights.ess > 1500),
    ...     bool(AcceptanceRule().accepts(weights)),
    ...     abs(float(log_integral) - 0.919) < 0.1,
    ... )
    (True, True, True)
    """
    index = torch.arange(len(pool), device=pool.points.device)
    search = _Search(target, first, rule, wanted, rounds, generator)
    yield from search.run(index, pool, list(mixtures), rounds.cycles)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The rounds of :func:`adapt`, for those data sets that are not done yet."""

    target: Target
    first: Proposal
    rule: AcceptanceRule
    wanted: float
    rounds: Rounds
    generator: torch.Generator | None

    def run(
        self, index: Tensor, pool: Pool, mixtures: list[StudentMixture], cycles: int
    ) -> Iterator[tuple[Tensor, Pool, Weights]]:
        """Fit until weights look good, and answer by new draws; go on where these do not."""
        weights = weigh(pool.log_weights)
        enough = weights.ess >= _GOOD_AT_ONCE * len(pool.points)
        good = enough & self.rule.relies_on(weights)
        if bool(good.any()):
            only = self._fit_to(pool.select(good), weights.select(good))
            yield from self._answer(index[good], [only], cycles, _SHARE_OF_GOOD)
            index, pool, weights = index[~good], pool.select(~good), weights.select(~good)
            mixtures = [mixture.select(~good) for mixture in mixtures]
        for number in range(_NUM_ROUNDS if len(index) else 0):
            pool, mixtures = self._fit(index, pool, weights, mixtures)
            weights = weigh(pool.log_weights)
            ready = self.rule.relies_on(weights) & (weights.ess >= _MARGIN * self.rule.ess)
            if number == _NUM_ROUNDS - 1:
                ready = torch.ones_like(ready)
            if bool(ready.any()):
                chosen = [mixture.select(ready) for mixture in mixtures[-2:]]
                yield from self._answer(index[ready], chosen, cycles)
                index, pool, weights = index[~ready], pool.select(~ready), weights.select(~ready)
                mixtures = [mixture.select(~ready) for mixture in mixtures]
            if not len(index):
                return

    def _fit(
        self, index: Tensor, pool: Pool, weights: Weights, mixtures: list[StudentMixture]
    ) -> tuple[Pool, list[StudentMixture]]:
        """Fit one more mixture, and add its draws, with the density of all proposals at all."""
        last = self._fit_to(pool, weights)
        new = last.sample(self.rounds.num_new, self.generator)
        of_new = [self.first.log_prob(new, index), *(mixture.log_prob(new) for mixture in mixtures)]
        pool = pool.with_proposal(new, self.target(new, index), of_new, last.log_prob)
        return pool, [*mixtures, last]

    def _fit_to(self, pool: Pool, weights: Weights) -> StudentMixture:
        return fit_student_mixture(
            pool.points,
            tempered(weights.log_weights, _ESS_TO_FIT),
            self.rounds.num_components,
            num_points=self.rounds.num_new // 2,
            generator=self.generator,
        )

    def _answer(
        self,
        index: Tensor,
        mixtures: list[StudentMixture],
        cycles: int,
        share: float = _SHARE_OF_FIRST,
    ) -> Iterator[tuple[Tensor, Pool, Weights]]:
        """Draw anew until there is as much as wanted; start over where that is not enough."""
        pool = self._draw(index, mixtures, share)
        for number in range(_NUM_MORE + 1):
            weights = weigh(pool.log_weights)
            done, bad = self._judge(weights, (_NUM_MORE + 1) / (number + 1), cycles)
            if bool(done.any()):
                yield index[done], pool.select(done), weights.select(done)
            if bool(bad.any()):
                yield from self._add_draws(index, pool, mixtures, bad, cycles - 1)
            left = ~(done | bad)
            index, pool = index[left], pool.select(left)
            mixtures = [mixture.select(left) for mixture in mixtures]
            if not len(index):
                return
            pool = pool.with_more(self._draw(index, mixtures, share))

    def _add_draws(
        self, index: Tensor, pool: Pool, mixtures: list[StudentMixture], bad: Tensor, cycles: int
    ) -> Iterator[tuple[Tensor, Pool, Weights]]:
        """Fit again, with more draws in each round, as many data sets at once as memory allows."""
        rounds = replace(self.rounds, num_new=_GROWTH * self.rounds.num_new)
        search = replace(self, rounds=rounds)
        at_once = MEMORY.at_once(_NUMBERS_PER_DRAW * rounds.num_new)
        for some in bad.nonzero()[:, 0].split(at_once):
            fitted = [mixture.select(some) for mixture in mixtures]
            yield from search.run(index[some], pool.select(some), fitted, cycles)

    def _judge(self, weights: Weights, more: float, cycles: int) -> tuple[Tensor, Tensor]:
        """Tell which data sets are done, and which need a better fit rather than more draws.

        Of more draws there can be so many times as many as there are.
        """
        reliable, enough = self.rule.relies_on(weights), weights.ess >= self.wanted
        done = reliable & enough
        if more > 1:
            done = done & differ(weights.log_weights, self.rounds.num_picked)
        if cycles == 1:
            return done | (more == 1), torch.zeros_like(done)
        hopeless = more * weights.ess < self.wanted
        return done, hopeless | (enough & ~reliable)

    def _draw(self, index: Tensor, mixtures: list[StudentMixture], share: float) -> Pool:
        """Draw from the last mixtures, and a share from the first proposal."""
        number = int(_ROUNDS_OF_DRAWS * self.rounds.num_new)
        from_first = int(share * number)
        each = (number - from_first) // len(mixtures)
        of_first, log_own = self.first.sample(from_first, index)
        of_others = torch.cat([mixture.sample(each, self.generator) for mixture in mixtures])
        points = torch.cat([of_first, of_others])
        log_proposals = [torch.cat([log_own, self.first.log_prob(of_others, index)])]
        log_proposals += [mixture.log_prob(points) for mixture in mixtures]
        counts = (from_first, *[each] * len(mixtures))
        return Pool(points, *self.target(points, index), tuple(log_proposals), counts)
