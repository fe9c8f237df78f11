"""What training minimizes: named terms, whose sum counts."""

from collections.abc import Callable

import torch

from torch import Tensor

from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.estimator import Estimator

__all__ = ["Objective", "negative_log_probability"]

Objective = Callable[[Estimator, Batch, torch.Generator | None], dict[str, Tensor]]
"""Takes an estimator, a batch of simulated data sets, and a generator; returns terms by name.

Histories keep the names.
"""


def negative_log_probability(
    estimator: Estimator, batch: Batch, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Return -log q(θ given y) and -log q(z given y, θ) of simulations, in nats [1]_.

    Of a posterior network without a density, its own loss stands for the first.

    References
    ----------
    .. [1] Kucharský, Š., & Bürkner, P.-C. (2026). Amortized Bayesian mixture models. Statistics and
       Computing 36(4). arXiv:2501.10229
    """
    return estimator.losses(batch, generator)
