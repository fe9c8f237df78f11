"""Label switching: which permutation of the labels of each draw makes draws comparable.

Pure functions of arrays: draws first, labels from 0 to K - 1. :func:`pymc_amortized.relabel` is the
door for ArviZ results.
"""

from pymc_amortized.labels.algorithms.by_allocations import ecr, ecr_iterative_1, ecr_iterative_2
from pymc_amortized.labels.algorithms.by_parameters import (
    aic,
    nearest_to_mean,
    ordering,
    pra,
)
from pymc_amortized.labels.algorithms.data_based import data_based
from pymc_amortized.labels.algorithms.permutations import inverse, permute, permute_labels
from pymc_amortized.labels.algorithms.relabelling import Relabelling
from pymc_amortized.labels.algorithms.stephens import stephens

__all__ = [
    "Relabelling",
    "aic",
    "data_based",
    "ecr",
    "ecr_iterative_1",
    "ecr_iterative_2",
    "inverse",
    "nearest_to_mean",
    "ordering",
    "permute",
    "permute_labels",
    "pra",
    "stephens",
]
