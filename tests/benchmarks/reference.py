"""A posterior by importance sampling from a mixture fitted to a long bridge, for comparison."""

import torch

from pymc_amortized.importance.bridge import Effort, bridge
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import weigh

MANY = Effort(4_000, 60)
MANY_BY_GRADIENT = Effort(2_048, 24, num_sweeps=8)
SIZE_FOR_GRADIENT = 12


def reference(problem, seed, num_draws, num_components=24):
    """Return points (num_draws, 1, D), their weights, log evidence, and its error."""
    frames, size = problem.read(None).frames, problem.space.size
    generator = torch.Generator().manual_seed(seed)
    large = size >= SIZE_FOR_GRADIENT
    found = bridge(
        lambda x: problem.log_target(x, frames),
        1,
        size,
        MANY_BY_GRADIENT if large else MANY,
        gradient=(lambda x: problem.log_target_with_gradient(x, frames)) if large else None,
        generator=generator,
    )
    equal = torch.zeros_like(found.points[..., 0])
    mixture = fit_student_mixture(
        found.points, equal, num_components, num_points=len(equal), generator=generator
    )
    points = mixture.sample(num_draws, generator)
    log_weights = problem.log_target(points, frames) - mixture.log_prob(points)
    log_evidence, error = log_mean_weight(log_weights)
    return points, weigh(log_weights), float(log_evidence - problem.log_prior_mass[0]), float(error)
