"""Random tables of units."""

import torch

from pymc_amortized.networks.units import Units

OWNER = (0, 0, 1, 2, 2, 2, 1, 0, -1, 2)


def make_units(num_datasets, num_rows, num_features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(num_datasets, num_rows, num_features, generator=generator)
    return Units(values, torch.ones(num_datasets, num_rows, dtype=torch.bool))
