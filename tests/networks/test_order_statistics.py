"""The summary network of sorted values."""

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.networks.summary.order_statistics import quantile_grid
from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import make_units


def test_quantiles_of_known_values():
    values, mask = torch.tensor([[4.0, 0.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert quantile_grid(values, mask, 5).tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
    assert quantile_grid(values, mask, 3).tolist() == [[0.0, 2.0, 4.0]]
    assert quantile_grid(values, ~mask, 3).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("num_points", [2, 7, 40])
def test_quantiles_are_those_of_numpy(num_points):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(6, 20, generator=generator, dtype=torch.float64)
    mask = torch.rand(6, 20, generator=generator) < torch.linspace(0.1, 1, 6)[:, None]
    mask[:, 0] = True
    found = quantile_grid(values, mask, num_points).numpy()
    in_use = [row[kept].numpy() for row, kept in zip(values, mask, strict=True)]
    expected = [np.quantile(row, np.linspace(0, 1, num_points)) for row in in_use]
    assert np.allclose(found, expected, atol=1e-9)


def test_as_many_points_as_rows_lose_nothing():
    values = make_units(3, 9, 1).values[..., 0]
    found = quantile_grid(values, torch.ones_like(values, dtype=torch.bool), 9)
    assert torch.allclose(found, values.sort(-1).values, atol=1e-6)


def test_beyond_its_points_a_data_set_is_seen_through_quantiles_and_moments():
    """Two values between the quantiles may part, as long as mean and variance stay."""
    values = torch.tensor([-5.0, -4.2, -3.0, -1.0, 0.0, 1.0, 3.0, 4.2, 5.0])
    other = torch.tensor([-5.0, -4.0, -3.0, -1.4, 0.0, 1.4, 3.0, 4.0, 5.0])
    # Quantiles at five levels are every second value. Scaled so that the squares sum to the same.
    other[[1, 7]] *= ((2 * 4.2**2 + 2 - 2 * 1.4**2) / (2 * 4.0**2)) ** 0.5
    assert -5 < other[1] < -3
    both = Units(torch.stack([values, other]).unsqueeze(-1), torch.ones(2, 9, dtype=torch.bool))
    torch.manual_seed(0)
    coarse = pma.OrderStatisticsNetwork(UnitShape(1, 1, 9), max_points=5).eval()
    fine = pma.OrderStatisticsNetwork(UnitShape(1, 1, 9)).eval()
    with torch.no_grad():
        one, two = coarse(both)
        assert torch.allclose(one, two, atol=1e-5)
        one, two = fine(both)
        assert not torch.allclose(one, two, atol=1e-3)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"got rows with 2 features(.|\n)*DeepSet"):
        pma.OrderStatisticsNetwork(UnitShape(2, 10, 10))
