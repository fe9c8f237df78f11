"""The summary network whose rows attend to each other."""

import torch

import pymc_amortized as pma

from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import make_units


def build(max_rows, **options):
    torch.manual_seed(0)
    return pma.SetTransformer(UnitShape(3, 1, max_rows), **options).eval()


def test_attention_does_not_count_copies_of_rows():
    """Rows are averaged, by weights that copies share: sizes come in by a number of their own.

    That is the log share of the largest size, which is here as large in both.
    """
    small, large, units = build(12), build(24), make_units(4, 6, 3)
    twice = Units(torch.cat([units.values] * 2, 1), torch.cat([units.mask] * 2, 1))
    with torch.no_grad():
        assert torch.allclose(small(units), large(twice), atol=1e-5)
        assert not torch.allclose(small(units), small(twice), atol=1e-3)


def test_a_data_set_without_rows_is_answered_whatever_its_padding_holds():
    network, units = build(12), make_units(3, 6, 3)
    mask = units.mask.clone()
    mask[1] = False
    junk = units.values.clone()
    junk[1] = 1e4
    with torch.no_grad():
        plain, found = network(units), network(Units(junk, mask))
        nothing = network(Units(torch.zeros(1, 6, 3), torch.zeros(1, 6, dtype=torch.bool)))
    assert torch.isfinite(found).all()
    assert torch.allclose(found[1], nothing[0], atol=1e-5)
    assert torch.allclose(found[[0, 2]], plain[[0, 2]], atol=1e-5)


def test_gradients_are_finite_where_a_data_set_has_no_rows():
    network, units = build(12), make_units(3, 6, 3)
    mask = units.mask.clone()
    mask[1] = False
    network(Units(units.values, mask)).square().sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in network.parameters())


def test_widths_are_as_asked_for():
    network = build(12, context_size=10, width=24, num_blocks=3, num_points=5, num_heads=3)
    assert network(make_units(4, 6, 3)).shape == (4, 10)
    assert network.context_size == 10
