"""Networks alone: exact padding, true densities, and the contracts."""

import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import make_units

SUMMARIES = {
    "order statistics": (pma.OrderStatisticsNetwork, UnitShape(1, 1, 12)),
    "deep set of scalars": (pma.DeepSet, UnitShape(1, 1, 12)),
    "deep set of vectors": (pma.DeepSet, UnitShape(3, 1, 12)),
    "deep set of many features": (pma.DeepSet, UnitShape(11, 1, 12)),
    "set transformer": (pma.SetTransformer, UnitShape(3, 1, 12)),
    "soft clusters of scalars": (pma.SoftClusterNetwork, UnitShape(1, 1, 12)),
    "soft clusters of vectors": (pma.SoftClusterNetwork, UnitShape(3, 1, 12)),
}


SEQUENCES = {
    "soft states": pma.SoftStateNetwork,
    "convolutions": pma.ConvolutionalNetwork,
    "recurrent": pma.RecurrentNetwork,
}


def padded(units, num_rows, junk):
    """The same data sets in longer tables, their rows in another place of the table."""
    num_datasets, used, num_features = units.values.shape
    values = torch.full((num_datasets, num_rows, num_features), junk)
    mask = torch.zeros(num_datasets, num_rows, dtype=torch.bool)
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(3))[:used]
    values[:, order] = units.values
    mask[:, order] = units.mask
    return Units(values, mask)


@pytest.fixture(params=SUMMARIES, ids=lambda name: name.replace(" ", "_"))
def summary(request):
    build, shape = SUMMARIES[request.param]
    torch.manual_seed(0)
    return build(shape).eval(), shape


@pytest.mark.parametrize("junk", [0.0, 1e6])
def test_padding_changes_no_summary(summary, junk):
    network, shape = summary
    for num_rows in (1, 7):
        units = make_units(4, num_rows, shape.num_features)
        with torch.no_grad():
            plain, longer = network(units), network(padded(units, 12, junk))
        assert plain.shape == (4, network.context_size)
        assert torch.allclose(plain, longer, atol=1e-5)


def test_a_batch_of_mixed_sizes_equals_its_members(summary):
    network, shape = summary
    members = [make_units(1, n, shape.num_features, seed=n) for n in (1, 3, 12, 8)]
    batch = [padded(m, 12, 5.0) for m in members]
    together = Units(torch.cat([b.values for b in batch]), torch.cat([b.mask for b in batch]))
    with torch.no_grad():
        one_by_one = torch.cat([network(m) for m in members])
        assert torch.allclose(network(together), one_by_one, atol=1e-5)


def test_rows_are_exchangeable_and_sizes_are_seen(summary):
    network, shape = summary
    units = make_units(2, 6, shape.num_features)
    shuffled = Units(units.values.flip(1), units.mask)
    twice = Units(torch.cat([units.values] * 2, 1), torch.cat([units.mask] * 2, 1))
    with torch.no_grad():
        assert torch.allclose(network(units), network(shuffled), atol=1e-5)
        assert not torch.allclose(network(units), network(twice), atol=1e-3)


def test_the_padding_test_sees_a_leak(summary):
    """A planted fault: a mask that lets one padded row through."""
    network, shape = summary
    units = padded(make_units(2, 5, shape.num_features), 12, 3.0)
    leaky = units.mask.clone()
    leaky[:, int((~units.mask[0]).nonzero()[0])] = True
    with torch.no_grad():
        assert not torch.allclose(network(units), network(Units(units.values, leaky)), atol=1e-3)


def longer_sequences(units, num_sequences, num_times, junk):
    """The same sequences with more time points after their ends, which are not in use."""
    extra = num_times - units.values.shape[1] // num_sequences
    values = units.values.unflatten(1, (num_sequences, -1))
    mask = units.mask.unflatten(1, (num_sequences, -1))
    values = torch.nn.functional.pad(values, (0, 0, 0, extra), value=junk)
    return Units(values.flatten(1, 2), torch.nn.functional.pad(mask, (0, extra)).flatten(1))


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("num_sequences", [1, 3])
def test_padding_changes_no_summary_of_sequences(name, num_sequences):
    shape = UnitShape(3, 1, 40, num_components=2, num_sequences=num_sequences)
    torch.manual_seed(0)
    network = SEQUENCES[name](shape).eval()
    for num_times in (1, 9, 30):
        units = make_units(4, num_sequences * num_times, 3)
        longer = longer_sequences(units, num_sequences, 37, 0.0)
        batch = Units(
            torch.cat([longer.values, make_units(1, num_sequences * 37, 3).values]),
            torch.cat([longer.mask, torch.ones(1, num_sequences * 37, dtype=torch.bool)]),
        )
        with torch.no_grad():
            plain, in_batch = network(units), network(batch)[:4]
            # A planted fault: time points after the end that count.
            leaky = network(Units(longer.values, torch.ones_like(longer.mask)))
        assert plain.shape == (4, network.context_size)
        assert torch.allclose(plain, in_batch, atol=1e-5)
        assert not torch.allclose(plain, leaky, atol=1e-3)


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_order_of_time_is_seen(name):
    shape = UnitShape(3, 1, 40, num_components=2, num_sequences=1)
    torch.manual_seed(0)
    network = SEQUENCES[name](shape).eval()
    units = make_units(2, 30, 3)
    shuffled = units.rows(torch.randperm(30).expand(2, -1))
    with torch.no_grad():
        assert not torch.allclose(network(units), network(shuffled), atol=1e-3)
    with pytest.raises(ValueError, match="rows of a set"):
        SEQUENCES[name](UnitShape(3, 1, 40))
