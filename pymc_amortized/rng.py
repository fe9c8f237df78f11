"""Random generators from a PyMC-style ``random_seed``; nothing global is ever seeded."""

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["RandomSeed", "numpy_generator", "piece_seed", "torch_generator"]

RandomSeed = int | Sequence[int] | np.random.Generator | None


def numpy_generator(random_seed: RandomSeed = None) -> np.random.Generator:
    """Return a NumPy generator for a seed, a sequence of seeds, a generator or None.

    A generator is returned as it is, so that successive calls continue its stream.

    Examples
    --------
    >>> int(numpy_generator(1).integers(100)) == int(numpy_generator(1).integers(100))
    True
    """
    return np.random.default_rng(random_seed)


def torch_generator(
    random_seed: RandomSeed = None, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a torch generator on a device for a seed, a sequence, a NumPy generator or None.

    Examples
    --------
    >>> draws = [torch.rand(2, generator=torch_generator(1)) for _ in range(2)]
    >>> bool((draws[0] == draws[1]).all())
    True
    """
    generator = torch.Generator(device=device)
    generator.manual_seed(int(numpy_generator(random_seed).integers(2**63 - 1)))
    return generator


def piece_seed(seed: int, kind: int, index: int) -> int:
    """Return the seed of one piece of a training: kind 0 trains, 1 validates, 2 picks rows."""
    return seed * 1_000_003 + kind * 100_000_007 + index
