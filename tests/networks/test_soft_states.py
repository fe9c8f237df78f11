"""The summary network of Markov chains."""

import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import make_units

NUM_SEQUENCES, NUM_TIMES = 3, 12


def build(num_sequences=NUM_SEQUENCES, max_rows=40, **options):
    shape = UnitShape(2, 1, max_rows, num_components=2, num_sequences=num_sequences)
    torch.manual_seed(0)
    return pma.SoftStateNetwork(shape, **options).eval()


def places():
    """Rows by sequence and time."""
    return torch.arange(NUM_SEQUENCES * NUM_TIMES).unflatten(0, (NUM_SEQUENCES, NUM_TIMES))


def in_another_order(units, order):
    return units.rows(order.flatten().expand(len(units), -1))


@pytest.mark.parametrize(
    ("order", "alike"),
    [
        (places()[[2, 0, 1]], True),
        (places().flip(1), False),
        (places().T.unflatten(0, (NUM_SEQUENCES, -1)), False),
    ],
    ids=["other order of sequences", "backwards", "sequences and times confused"],
)
def test_sequences_are_exchangeable_and_their_time_points_are_not(order, alike):
    """Nothing goes on from the end of one sequence to the beginning of the next."""
    network, units = build(), make_units(4, NUM_SEQUENCES * NUM_TIMES, 2)
    with torch.no_grad():
        plain, changed = network(units), network(in_another_order(units, order))
    assert torch.allclose(plain, changed, atol=1e-5) is alike


def test_the_same_sequence_twice_is_as_one_but_for_the_share_of_the_most_time_points():
    """States and moves are counted by sequence, and averaged."""
    one, two = build(1, max_rows=40), build(2, max_rows=80)
    two.load_state_dict(one.state_dict())
    units = make_units(4, NUM_TIMES, 2)
    twice = Units(torch.cat([units.values] * 2, 1), torch.cat([units.mask] * 2, 1))
    with torch.no_grad():
        # Sizes of clusters are kept off 0 by 1e-3, which weighs less in larger ones.
        assert torch.allclose(one(units), two(twice), atol=1e-3)
        assert not torch.allclose(build(1, max_rows=80)(units), two(twice), atol=3e-3)


def test_sequences_without_time_points_are_answered():
    network, units = build(), make_units(2, NUM_SEQUENCES * NUM_TIMES, 2)
    mask = units.mask.clone()
    mask[0] = False
    values = units.values.masked_fill(~mask.unsqueeze(-1), 0.0)
    found = network(Units(values, mask))
    found.square().sum().backward()
    assert torch.isfinite(found).all()
    assert all(torch.isfinite(x.grad).all() for x in network.parameters())
    with torch.no_grad():
        alone = network(Units(values[1:], mask[1:]))
    assert torch.allclose(found[1:], alone, atol=1e-5)


def test_every_weight_is_of_use():
    network = build(num_rounds=3, num_states=4, context_size=20, width=32, kernel=5)
    found = network(make_units(8, NUM_SEQUENCES * NUM_TIMES, 2))
    assert found.shape == (8, 20)
    found.square().sum().backward()
    unused = [name for name, x in network.named_parameters() if not x.grad.abs().sum() > 0]
    assert unused == []


def test_sets_are_refused():
    with pytest.raises(ValueError, match=r"rows of a set(.|\n)*SetTransformer"):
        pma.SoftStateNetwork(UnitShape(2, 1, 40))
