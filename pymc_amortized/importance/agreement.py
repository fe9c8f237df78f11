"""Whether two sets of draws say the same: of the integral, and of where mass lies."""

import math

from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import Weights, resample

__all__ = ["Estimate", "agree", "largest_gap", "stay"]

_NUM_REGIONS = 6
_NUM_TO_FIT = 1_000
_ERRORS = 4.0
_MASS_MARGIN = 0.01
_EVIDENCE_MARGIN = 0.05
_MARGIN_OF_MEANS, _ERRORS_OF_MEANS = 0.05, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Weighted draws of B targets, and their integrals.

    Attributes
    ----------
    points : Tensor, shape (S, B, D)
        Draws.
    weights : Weights
        Of these.
    log_evidence, error : Tensor, shape (B,)
        Log of the integral in nats, with its standard error.
    """

    points: Tensor
    weights: Weights
    log_evidence: Tensor
    error: Tensor

    def draw(self, num_draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Return draws (num_draws, B, D), picked in proportion to their weights."""
        index = resample(self.weights.log_weights, num_draws, generator)
        size = self.points.shape[-1]
        return self.points.gather(0, index.unsqueeze(-1).expand(-1, -1, size))


def agree(one: Estimate, other: Estimate, generator: torch.Generator | None = None) -> Tensor:
    """Tell for which data sets two estimates agree, (B,).

    Log integrals may differ by four standard errors and 0.05 nats; the mass of any region by four
    standard errors and 0.01. Integrals alone are not enough: two sets of draws that miss the same
    tail have integrals that are equally wrong. Nor are masses: two sets in the same one of two
    modes have equal masses. An integral that is not a number agrees with nothing.
    """
    apart = (one.log_evidence - other.log_evidence).abs()
    bound = _ERRORS * (one.error.square() + other.error.square()).sqrt() + _EVIDENCE_MARGIN
    return (apart <= bound) & (largest_gap(one, other, generator) <= _MASS_MARGIN)


def largest_gap(one: Estimate, other: Estimate, generator: torch.Generator | None = None) -> Tensor:
    """Return by how much the masses of some region differ, beyond four standard errors, (B,).

    Regions are the components of a mixture fitted to both sets of draws together, so that each mode
    that either has found is one, or several.
    """
    together = torch.cat([x.draw(_NUM_TO_FIT, generator) for x in (one, other)])
    regions = fit_student_mixture(
        together,
        torch.zeros_like(together[..., 0]),
        _NUM_REGIONS,
        num_points=len(together),
        generator=generator,
    )

    def masses(estimate: Estimate) -> tuple[Tensor, Tensor]:
        member = regions.memberships(estimate.points)  # (B, K, S)
        weight = estimate.weights.log_weights.exp().T.unsqueeze(1)
        mass = (member * weight).sum(-1)
        variance = (weight * (member - mass.unsqueeze(-1))).square().sum(-1)
        return mass, variance

    (mass, variance), (other_mass, other_variance) = masses(one), masses(other)
    beyond = (mass - other_mass).abs() - _ERRORS * (variance + other_variance).sqrt()
    return beyond.amax(-1)


def stay(before: Tensor, after: Tensor) -> Tensor:
    """Tell for which data sets draws stay where they are, (B,), when a kernel moves them.

    Draws of the kernel's own target are draws of it when they have been moved; others drift to
    where they lack mass. The mean of each number may change by three standard errors, and a
    twentieth of a standard deviation: those that are taken to drift are moved again, no more.

    Parameters
    ----------
    before, after : Tensor, shape (N, B, D)
        Numbers of each draw, such as coordinates and its log density; no NaN.

    Examples
    --------
    Draws of half the width drift.

    >>> generator = torch.Generator().manual_seed(1)
    >>> x, noise = torch.randn(2, 1000, 1, 1, generator=generator)
    >>> [bool(stay((s * x).square(), (0.8 * s * x + 0.6 * noise).square())) for s in (1, 0.5)]
    [True, False]
    """
    change = after - before
    spread = torch.maximum(before.std(0), after.std(0))
    bound = _MARGIN_OF_MEANS * spread + _ERRORS_OF_MEANS * change.std(0) / math.sqrt(len(change))
    return (change.mean(0).abs() <= bound).all(-1)
