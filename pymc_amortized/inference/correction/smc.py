"""The rung of sequential Monte Carlo: particles of two bridges that agree are draws themselves."""

import math

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.agreement import Estimate, agree
from pymc_amortized.importance.bridge import Bridged
from pymc_amortized.importance.evidence import bridge_sampling, joint_log_weights
from pymc_amortized.importance.moves import rejuvenate
from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import Weights, resample, weigh
from pymc_amortized.inference.correction.confirmation import Confirmation
from pymc_amortized.inference.correction.mcmc import thin
from pymc_amortized.inference.correction.nuts import diagnose
from pymc_amortized.inference.correction.particles import SIZE_FOR_GRADIENT
from pymc_amortized.inference.correction.weighted_draws import moves_for
from pymc_amortized.inference.draws import McmcDraws

__all__ = ["Populations", "SmcRung"]

_FINITE_VARIANCE = 0.5
_MARGIN, _ERRORS = 0.1, 4.0  # of means, in standard deviations and standard errors
_SMALL_SHARE = 0.1
_LARGEST_MEMORY = 0.85
_NUM_PROPOSALS = (16_000, 4_000)  # in few dimensions, and in many, where they reach less
_FEWEST_TO_COMPARE = 2_000
_NUM_COMPONENTS = 48
_FEWEST_OF_COMPONENT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Populations:
    """Two populations of particles that know nothing of each other, at one posterior.

    Attributes
    ----------
    mcmc : McmcDraws
        Draws, a chain of each population: their R-hat is between the two.
    log_evidence, error : Tensor, shape (1,)
        log p(y) in nats, and its standard error.
    agree : bool
        Whether they say the same of the integral, of where mass lies, and of every coordinate.
    """

    mcmc: McmcDraws
    log_evidence: Tensor
    error: Tensor
    agree: bool


@dataclass(frozen=True, slots=True, eq=False)
class _BothSides:
    """Particles and draws of a mixture, weighed together: points (S, 1, D), log weights (S, 1)."""

    points: Tensor
    log_weights: Tensor
    ess: float
    estimate: Estimate


class SmcRung:
    """Answers for one data set by particles, where no mixture covers their posterior.

    A posterior of many dimensions and many modes can be too wild for a proposal that covers it, and
    chains that began in one mode stay there. Particles that have come from everywhere, and have
    forgotten at the posterior where in their mode they were, are draws of it, if there are enough
    of them that each mode has its share [1]_. Whether there are is seen by a second population.

    Parameters
    ----------
    confirmation : Confirmation
        Of the batch; the first population is that of its second estimate.

    References
    ----------
    .. [1] Del Moral, P., Doucet, A. & Jasra, A. (2006). Sequential Monte Carlo samplers. Journal of
       the Royal Statistical Society B 68(3), 411-436.
    """

    def __init__(self, confirmation: Confirmation) -> None:
        self.confirmation, self.particles = confirmation, confirmation.particles
        self.weighted, self.problem = confirmation.weighted, confirmation.weighted.inference.problem
        self._last: tuple[int, Populations | None] | None = None

    def gains_on(self, at: Tensor, weights: Weights) -> bool:
        """Tell whether particles are to be preferred to weights that can be relied on.

        Those of draws that are hardly worth a tenth of their number come from proposals that do not
        reach everywhere, and two of them can lack the same tail. Those whose variance is not finite
        should be worth more draws than there are particles.
        """
        bridged = self.confirmation.second(at).bridged
        ess, num_draws = float(weights.ess), len(weights.log_weights)
        heavy = float(weights.pareto_k) > _FINITE_VARIANCE and ess < 2 * len(bridged.points)
        return _can_answer(bridged) and (heavy or ess < _SMALL_SHARE * num_draws)

    def draw(self, at: Tensor) -> Populations | None:
        """Return two populations for one data set; None where particles do not forget."""
        if self._last is None or self._last[0] != int(at):
            self._last = int(at), self._draw(at)
        return self._last[1]

    def disagrees(self, at: Tensor) -> bool:
        """Tell whether there are two populations for one data set, and they do not agree."""
        found = self.draw(at)
        return found is not None and not found.agree

    def _draw(self, at: Tensor) -> Populations | None:
        if not self.particles.is_possible:
            return None
        first = self.confirmation.second(at).bridged
        if not _can_answer(first):
            return None
        stayed, first = first, self.confirmation.settled(at).bridged
        second = self.particles.send(at) if _can_answer(first) else first
        if first is not stayed:
            second = self.particles.settle(at, second)
        if not _can_answer(second):
            return None
        one, other = self._weigh(at, first, second), self._weigh(at, second, first)
        number = max(math.ceil(self.weighted.num_draws / 2), _FEWEST_TO_COMPARE)
        worth = [min(number, both.ess) for both in (one, other)]
        alone, rhat_alone = _compare_alone(first, second, self.weighted.rule.rhat)
        drawn = torch.cat([self._pick(at, both, number) for both in (one, other)])
        vector = self.problem.space.unstandardize(drawn)[0].unflatten(0, (2, -1)).cpu()
        rhat, _ = diagnose(vector.numpy())
        rhat = rhat if alone else max(rhat, rhat_alone)
        none = torch.zeros(vector.shape[:2], dtype=torch.bool)
        mcmc = McmcDraws(vector, none, rhat, sum(worth), "smc", 0.0)
        said = bool(agree(one.estimate, other.estimate, self.particles.generator))
        alike = alone and _are_alike(vector, worth)
        log_mass, _ = self.problem.log_prior_mass
        return Populations(
            mcmc,
            (one.estimate.log_evidence + other.estimate.log_evidence) / 2 - log_mass,
            self._error(one.estimate, other.estimate),
            said and alike and self.weighted.rule.accepts_mcmc(mcmc),
        )

    def _weigh(self, at: Tensor, bridged: Bridged, other: Bridged) -> _BothSides:
        """Weigh particles together with draws of a mixture fitted to the other population.

        Fitted to the same, it would lie a little too much where they are.
        """
        particles, generator, worth = bridged.points, self.particles.generator, float(bridged.worth)
        number = max(1, min(_NUM_COMPONENTS, len(other.points) // _FEWEST_OF_COMPONENT))
        mixture = fit_student_mixture(
            other.points,
            torch.zeros_like(other.points[..., 0]),
            number,
            num_points=len(other.points),
            generator=generator,
        )
        large = self.problem.space.size >= SIZE_FOR_GRADIENT
        drawn = mixture.sample(_NUM_PROPOSALS[large], generator)
        of_particles, of_drawn = (
            self.particles.log_target(x, at) - mixture.log_prob(x) for x in (particles, drawn)
        )
        log_evidence, error = bridge_sampling(of_particles, of_drawn, worth)
        log_weights = joint_log_weights(of_particles, of_drawn, worth, log_evidence)
        # Particles depend on each other: as many as they are worth say how sure masses are.
        some = thin(torch.arange(len(particles), device=particles.device)[None], max(1, int(worth)))
        fewer = joint_log_weights(of_particles[some], of_drawn, worth, log_evidence)
        return _BothSides(
            torch.cat([particles, drawn]),
            log_weights,
            _ess_of(log_weights[:, 0], len(particles), worth),
            Estimate(torch.cat([particles[some], drawn]), weigh(fewer), log_evidence, error),
        )

    def _pick(self, at: Tensor, both: _BothSides, number: int) -> Tensor:
        """Return draws (number, D) by their weights, moved apart where they repeat each other."""
        generator = self.particles.generator
        points = both.points[resample(both.log_weights, number, generator)[:, 0]]
        num_moves = moves_for(both.ess / number)
        if not num_moves:
            return points[:, 0]

        def target(x: Tensor) -> Tensor:
            return self.particles.log_target(x, at)

        return rejuvenate(points, target(points), target, num_moves, generator)[0][:, 0]

    @staticmethod
    def _error(one: Estimate, other: Estimate) -> Tensor:
        """Return the error of the average, by what each says and by how far they are apart."""
        said = (one.error.square() + other.error.square()).sqrt() / 2
        return torch.maximum(said, (one.log_evidence - other.log_evidence).abs() / 2)


def _are_alike(vector: Tensor, worth: Sequence[float]) -> bool:
    """Tell whether means of two populations (2, N, D) differ by no more than they may.

    That is four standard errors, and a tenth of a standard deviation: of large populations R-hat
    asks for less than they can show.
    """
    apart = (vector.mean(1).diff(dim=0).abs() / vector.flatten(0, 1).std(0)).nan_to_num()
    return bool((apart <= _MARGIN + _ERRORS * math.sqrt(sum(1 / n for n in worth))).all())


def _compare_alone(first: Bridged, second: Bridged, largest: float) -> tuple[bool, float]:
    """Tell whether particles of two populations do not differ, and by which R-hat.

    They are compared before each has draws of the other: one that lacks a tail would otherwise have
    it from the mixture of the other. R-hat of few draws is above 1 by chance: means four standard
    errors apart, each with n draws, give 8 / n.
    """
    number = min(len(first.points), len(second.points))
    both = torch.stack([bridged.points[:number, 0] for bridged in (first, second)])
    worth = [float(bridged.worth) for bridged in (first, second)]
    rhat, _ = diagnose(both.cpu().numpy())
    by_chance = _ERRORS**2 / 4 * sum(1 / n for n in worth)
    return _are_alike(both, worth) and rhat <= max(largest, 1 + by_chance), rhat


def _can_answer(bridged: Bridged) -> bool:
    """Tell whether particles arrived, and hardly remember from where."""
    return float(bridged.power) == 1 and float(bridged.memory) <= _LARGEST_MEMORY


def _ess_of(log_weights: Tensor, num_particles: int, worth: float) -> float:
    """Return how many draws weights (S,) are worth; the first are of dependent particles."""
    squares = (2 * log_weights).exp()
    squares[:num_particles] *= num_particles / worth
    return 1 / float(squares.sum())
