"""The rung of sequential Monte Carlo: particles of two bridges that agree are draws themselves."""

import math

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.agreement import Estimate, agree
from pymc_amortized.importance.evidence import bridge_sampling
from pymc_amortized.importance.moves import rejuvenate
from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import Weights, weigh
from pymc_amortized.inference.correction.confirmation import Confirmation
from pymc_amortized.inference.correction.mcmc import thin
from pymc_amortized.inference.correction.nuts import diagnose
from pymc_amortized.inference.draws import McmcDraws

__all__ = ["Populations", "SmcRung"]

_FINITE_VARIANCE = 0.5
_MARGIN, _ERRORS = 0.1, 4.0  # of means, in standard deviations and standard errors
_SMALL_SHARE = 0.1
_NUM_MOVES = 16
_NUM_PROPOSALS = 4_000
_NUM_COMPONENTS = 48
_FEWEST_OF_COMPONENT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Populations:
    """Two populations of particles that know nothing of each other, at one posterior.

    Attributes
    ----------
    mcmc : McmcDraws
        The particles, a chain of each population: its R-hat is between the two.
    log_evidence, error : Tensor, shape (1,)
        log p(y) in nats, and its standard error.
    agree : bool
        Whether they say the same of the integral, of where mass lies, and of every coordinate.
    """

    mcmc: McmcDraws
    log_evidence: Tensor
    error: Tensor
    agree: bool


class SmcRung:
    """Answers for one data set by particles, where no mixture makes weights of them.

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
        heavy = float(weights.pareto_k) > _FINITE_VARIANCE and ess < 2 * float(bridged.worth)
        return bridged.has_forgotten and (heavy or ess < _SMALL_SHARE * num_draws)

    def draw(self, at: Tensor) -> Populations | None:
        """Return two populations for one data set; None where particles do not forget."""
        if self._last is None or self._last[0] != int(at):
            self._last = int(at), self._draw(at)
        return self._last[1]

    def _draw(self, at: Tensor) -> Populations | None:
        if not self.particles.is_possible:
            return None
        first = self.confirmation.second(at).bridged
        second = self.particles.send(at) if first.has_forgotten else first
        if not second.has_forgotten:
            return None
        populations = first, second
        scores = [found.points[:, 0] for found in populations]
        worth = [float(found.worth) for found in populations]
        drawn = torch.cat([self._as_many_as_wanted(at, some) for some in scores])
        vector = self.problem.space.unstandardize(drawn)[0].unflatten(0, (2, -1)).cpu()
        rhat, _ = diagnose(vector.numpy())
        none = torch.zeros(vector.shape[:2], dtype=torch.bool)
        mcmc = McmcDraws(vector, none, rhat, sum(worth), "smc", 0.0)
        one, other = (self._estimate(at, scores[i], worth[i], scores[1 - i]) for i in (0, 1))
        said = bool(agree(one, other, self.particles.generator))
        log_mass, _ = self.problem.log_prior_mass
        return Populations(
            mcmc,
            (one.log_evidence + other.log_evidence) / 2 - log_mass,
            self._error(one, other),
            said and _are_alike(vector, worth) and self.weighted.rule.accepts_mcmc(mcmc),
        )

    def _as_many_as_wanted(self, at: Tensor, scores: Tensor) -> Tensor:
        """Return half of the draws that are asked for, or all that there are (N, D), if more.

        Where there are fewer, each is moved on from several times.
        """
        times = math.ceil(self.weighted.num_draws / 2 / len(scores))
        if times == 1:
            return scores
        points = scores.repeat(times, 1).unsqueeze(1)

        def target(x: Tensor) -> Tensor:
            return self.particles.log_target(x, at)

        generator = self.particles.generator
        return rejuvenate(points, target(points), target, _NUM_MOVES, generator)[0][:, 0]

    def _estimate(self, at: Tensor, scores: Tensor, worth: float, others: Tensor) -> Estimate:
        """Estimate the integral from one population, and from a mixture fitted to the other."""
        generator = self.particles.generator
        number = max(1, min(_NUM_COMPONENTS, len(others) // _FEWEST_OF_COMPONENT))
        mixture = fit_student_mixture(
            others.unsqueeze(1),
            torch.zeros_like(others[:, :1]),
            number,
            num_points=len(others),
            generator=generator,
        )
        kept = thin(scores.unsqueeze(0), int(worth)).unsqueeze(1)
        drawn = mixture.sample(_NUM_PROPOSALS, generator)
        ratios = [self.particles.log_target(x, at) - mixture.log_prob(x) for x in (kept, drawn)]
        return Estimate(kept, weigh(torch.zeros_like(ratios[0])), *bridge_sampling(*ratios, worth))

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
