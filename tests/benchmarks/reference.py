"""Posteriors by long bridges, weighed together with draws of mixtures, for comparison."""

import torch

from pymc_amortized.importance.bridge import Effort, bridge
from pymc_amortized.importance.evidence import bridge_sampling, joint_log_weights
from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import Weights, effective_sample_size

MANY = Effort(4_000, 60)
MANY_BY_GRADIENT = Effort(2_048, 24, num_sweeps=8)
FEWER_BY_GRADIENT = Effort(1_024, 16, num_sweeps=4)  # of densities of so many numbers
MANY_NUMBERS = 5e4
SIZE_FOR_GRADIENT = 12


def references(problem, seed, num_draws, num_components=24):
    """Return two answers, each with points (S, 1, D), weights, log evidence, and its error.

    Each is of the particles of one bridge, and of so many draws of a mixture that is fitted to the
    particles of the other.
    """
    frames, size = problem.read(None).frames, problem.space.size
    generator = torch.Generator().manual_seed(seed)
    large = size >= SIZE_FOR_GRADIENT
    slow = problem.numbers_per_draw(frames) > MANY_NUMBERS
    by_gradient = FEWER_BY_GRADIENT if slow else MANY_BY_GRADIENT

    def target(x):
        return problem.log_target(x, frames)

    def send():
        return bridge(
            target,
            1,
            size,
            by_gradient if large else MANY,
            gradient=(lambda x: problem.log_target_with_gradient(x, frames)) if large else None,
            generator=generator,
        )

    def answer(found, other):
        equal = torch.zeros_like(other.points[..., 0])
        mixture = fit_student_mixture(
            other.points, equal, num_components, num_points=len(equal), generator=generator
        )
        drawn, worth = mixture.sample(num_draws, generator), found.worth
        ratios = [target(x) - mixture.log_prob(x) for x in (found.points, drawn)]
        log_evidence, error = bridge_sampling(*ratios, worth)
        log_weights = joint_log_weights(*ratios, worth, log_evidence)
        weights = Weights(log_weights, torch.zeros(1), effective_sample_size(log_weights))
        log_evidence = float(log_evidence - problem.log_prior_mass[0])
        return torch.cat([found.points, drawn]), weights, log_evidence, float(error)

    one, other = send(), send()
    return answer(one, other), answer(other, one)
