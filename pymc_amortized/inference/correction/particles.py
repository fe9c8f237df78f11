"""Particles that are sent from the prior to the posterior of one data set, by a bridge."""

import functools

from dataclasses import replace

import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.importance.agreement import stay
from pymc_amortized.importance.bridge import Bridged, Effort, bridge
from pymc_amortized.importance.moves import Density, wander
from pymc_amortized.importance.student_mixture import components_for_modes, fit_student_mixture
from pymc_amortized.importance.walk import scale_within
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws
from pymc_amortized.symmetry.label_swaps import LabelSwaps

__all__ = ["SIZE_FOR_GRADIENT", "Particles"]

SIZE_FOR_GRADIENT = 12
_MAX_MOVES, _ESS_SHARE = (60, 16), (0.5, 0.3)  # without and with a gradient
_NUM_PARTICLES = 1_000
_PARTICLES_BY_GRADIENT = (256, 512, 1_024)
_SWEEPS = 8
_MANY_EVALUATIONS = (150_000, 1_000_000)
_MAX_NUMBERS = 1.5e10
_FEWEST_EVALUATIONS = 10_000
_NUM_PATHS, _MOST_ROUNDS = 24, 4
_COST_OF_PATHS = 3 * 9 * _NUM_PATHS  # evaluations for each particle
_FEWEST_TO_WATCH = 100


class Particles:
    """Sends particles, as many and as far as the density of a model allows within seconds.

    Parameters
    ----------
    weighted : WeightedDraws
        The batch of data sets.

    Attributes
    ----------
    generator : torch.Generator
        Source of randomness of its own, so that draws that are confirmed are those that would be
        drawn without.
    """

    def __init__(self, weighted: WeightedDraws) -> None:
        self.weighted, self.problem = weighted, weighted.inference.problem
        self._swaps = LabelSwaps(self.problem.labelling, self.problem.space)
        seed = weighted.generator.initial_seed()
        self.generator = torch.Generator(weighted.generator.device).manual_seed(seed)

    @property
    def is_possible(self) -> bool:
        """Whether there is a density, and a bridge takes seconds for a data set, not minutes."""
        if self.problem.exact is None or not self.problem.space.size:
            return False
        return self._max_evaluations >= _FEWEST_EVALUATIONS

    @functools.cached_property
    def _max_evaluations(self) -> float:
        """How often a bridge may ask for the density of a data set."""
        return _MAX_NUMBERS / self.problem.numbers_per_draw(self.weighted.frames)

    def log_target(self, scores: Tensor, at: Tensor) -> Tensor:
        """Return the log density (S, 1) of one data set at scores (S, 1, D), until time is out."""
        self.weighted.watch.check()
        return self.problem.log_target(scores, self.weighted.frames.select(at))

    def send(self, at: Tensor) -> Bridged:
        """Send particles to the posterior of one data set; other ones each time."""
        frames = self.weighted.frames.select(at)

        def gradient(scores: Tensor) -> tuple[Tensor, Tensor]:
            self.weighted.watch.check()
            return self.problem.log_target_with_gradient(scores, frames)

        size = self.problem.space.size
        large = size >= SIZE_FOR_GRADIENT and self._has_gradient(frames)
        many = sum(self._max_evaluations >= number for number in _MANY_EVALUATIONS)
        return bridge(
            lambda scores: self.log_target(scores, at),
            1,
            size,
            Effort(
                _PARTICLES_BY_GRADIENT[many] if large else _NUM_PARTICLES,
                _MAX_MOVES[large],
                self._max_evaluations,
                _SWEEPS if large else 1,
                _ESS_SHARE[large],
            ),
            gradient=gradient if large else None,
            swap=self._swaps.propose if self._swaps.is_possible else None,
            generator=self.generator,
            tell=lambda power: self.weighted.watch.tell(
                f"particles from the prior, {power:.0%} of the way"
            ),
        )

    def settle(self, at: Tensor, bridged: Bridged) -> Bridged:
        """Move particles that arrived until they stay where they are.

        A bridge passes by what is much narrower than its steps. Particles of a posterior that has
        such needles drift into them; those that never stay remember everything.

        Returns
        -------
        Bridged
            The same, if its particles stay, or there is no gradient to follow.
        """
        frames, points = self.weighted.frames.select(at), bridged.points
        number = min(_NUM_PARTICLES, int(self._max_evaluations / _COST_OF_PATHS))
        if number < _FEWEST_TO_WATCH or not self._has_gradient(frames):
            return bridged

        def density(scores: Tensor) -> tuple[Tensor, Tensor]:
            self.weighted.watch.check()
            values, gradient = self.problem.log_target_with_gradient(scores, frames)
            return values, gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

        for _ in range(_MOST_ROUNDS):
            options = {"generator": self.generator, "device": points.device}
            before = points[torch.randperm(len(points), **options)[:number]]
            after = self._wander(before, density)
            known = [torch.cat([x, density(x)[0].unsqueeze(-1)], -1) for x in (before, after)]
            stays, first = bool(stay(*known)), points is bridged.points
            if stays and first:
                return bridged
            points = after if len(points) == len(after) else self._wander(points, density)
            if stays:
                return replace(bridged, points=points)
        return replace(bridged, points=points, memory=torch.ones_like(bridged.memory))

    def _wander(self, points: Tensor, density: Density) -> Tensor:
        mixture = fit_student_mixture(
            points,
            torch.zeros_like(points[..., 0]),
            components_for_modes(points.shape[-1]),
            num_points=len(points),
            generator=self.generator,
        )
        scale_tril = scale_within(points, mixture.memberships(points))
        return wander(points, density, scale_tril, _NUM_PATHS, self.generator)

    def _has_gradient(self, frames: Frames) -> bool:
        """Tell whether the density can be differentiated."""
        few = torch.zeros(2, 1, self.problem.space.size, dtype=torch.float64)
        try:
            self.problem.log_target_with_gradient(few.to(self.problem.device), frames)
        except (RuntimeError, NotImplementedError):
            return False
        return True
