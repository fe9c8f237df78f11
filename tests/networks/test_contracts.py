"""Networks alone: exact padding, true densities, and the contracts."""

import math

import pytest
import torch

import pymc_amortized as pma
import pymc_amortized.networks.posterior.spline_flow as flow_module

from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from pymc_amortized.networks.contracts import AbstractPosteriorNetwork
from pymc_amortized.networks.posterior.spline_flow import SplineFlow, rational_quadratic_spline
from pymc_amortized.networks.summary.order_statistics import quantile_grid
from pymc_amortized.networks.units import Units, UnitShape

OWNER = (0, 0, 1, 2, 2, 2, 1, 0, -1, 2)
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


def make_units(num_datasets, num_rows, num_features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(num_datasets, num_rows, num_features, generator=generator)
    return Units(values, torch.ones(num_datasets, num_rows, dtype=torch.bool))


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


def test_grouped_rows_are_pooled_by_unit():
    shape = UnitShape(2, 10, 10, num_components=2, owner=OWNER, num_units=3)
    torch.manual_seed(0)
    network = pma.DeepSet(shape).eval()
    units = make_units(3, 10, 2)
    within = torch.tensor([1, 0, 6, 3, 4, 5, 2, 7, 8, 9])  # swaps rows of the same units
    across = torch.tensor([2, 1, 0, 3, 4, 5, 6, 7, 8, 9])  # swaps rows of different ones
    with torch.no_grad():
        summary = network(units)
        assert torch.allclose(summary, network(units.rows(within.expand(3, -1))), atol=1e-5)
        assert not torch.allclose(summary, network(units.rows(across.expand(3, -1))), atol=1e-5)


@pytest.mark.parametrize("num_features", [1, 3])
def test_padding_changes_no_classification(num_features):
    shape = UnitShape(num_features, 1, 12, num_indicators=2, num_components=3)
    torch.manual_seed(0)
    network = UnitClassifier(shape, 4).eval()
    units, scores = make_units(5, 7, num_features), torch.randn(5, 4)
    longer = Units(
        torch.cat([units.values, torch.full((5, 4, num_features), 1e3)], 1),
        torch.cat([units.mask, torch.zeros(5, 4, dtype=torch.bool)], 1),
    )
    with torch.no_grad():
        plain, padded_ = network(units, scores), network(longer, scores)
    assert plain.shape == (5, 7, 2, 3)
    assert torch.allclose(plain.exp().sum(-1), torch.ones(5, 7, 2))
    assert torch.allclose(plain, padded_[:, :7], atol=1e-5)


def test_classification_of_grouped_rows_ignores_other_units():
    shape = UnitShape(2, 10, 10, num_components=2, owner=OWNER, num_units=3)
    torch.manual_seed(0)
    network = UnitClassifier(shape, 4).eval()
    units, scores = make_units(5, 10, 2), torch.randn(5, 4)
    changed = units.values.clone()
    changed[:, 3] += 5.0  # a row of unit 2
    with torch.no_grad():
        before, after = network(units, scores), network(Units(changed, units.mask), scores)
    assert before.shape == (5, 3, 1, 2)
    assert torch.allclose(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_classification_without_parameters():
    network = UnitClassifier(UnitShape(1, 5, 5, num_components=2), 0)
    assert network(make_units(2, 5, 1), torch.zeros(2, 0)).shape == (2, 5, 1, 2)


def test_quantiles_of_known_values():
    values, mask = torch.tensor([[4.0, 0.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert quantile_grid(values, mask, 5).tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
    assert quantile_grid(values, mask, 3).tolist() == [[0.0, 2.0, 4.0]]
    assert quantile_grid(values, ~mask, 3).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "network", [pma.OrderStatisticsNetwork, pma.SetTransformer, pma.SoftClusterNetwork]
)
def test_networks_refuse_what_they_are_not_for(network):
    with pytest.raises(ValueError, match="DeepSet"):
        network(UnitShape(2, 10, 10, owner=OWNER, num_units=3))


def randomized(flow, scale=0.3):
    """Weights far from those at the start, where a flow is the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return flow.double().eval()


def test_the_spline_is_its_own_inverse():
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-7, 7, 301, dtype=torch.float64)
    parameters = 2 * torch.randn(23, 301, generator=generator, dtype=torch.float64)
    y, log_derivative = rational_quadratic_spline(x, parameters, 5.0)
    back, log_inverse = rational_quadratic_spline(y, parameters, 5.0, inverse=True)
    assert torch.allclose(back, x, atol=1e-9)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-8)
    step = 1e-6
    above, _ = rational_quadratic_spline(x + step, parameters, 5.0)
    inside = (x.abs() - 5).abs() > 1e-3
    slope = ((above - y) / step).log()
    assert torch.allclose(slope[inside], log_derivative[inside], atol=1e-3)


@pytest.mark.parametrize("num_parameters", [1, 2, 5])
def test_a_flow_draws_from_its_density(num_parameters):
    flow = randomized(SplineFlow(num_parameters, 3, width=16))
    context = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        scores = flow.sample(context, 50, torch.Generator().manual_seed(0))
        log_q = flow.log_prob_of_draws(scores, context)
        repeated = context.expand(50, 2, 3).flatten(0, 1)
        again = flow.log_prob(scores.flatten(0, 1), repeated).unflatten(0, (50, 2))
    assert scores.shape == (50, 2, num_parameters)
    assert torch.allclose(log_q, again, atol=1e-9)


@pytest.mark.parametrize("num_parameters", [1, 2, 5])
def test_a_flow_draws_as_by_one_whole_pass_for_each_coordinate(num_parameters):
    """Hidden units are evaluated once each; the plain algorithm evaluates all of them D times."""
    flow = randomized(SplineFlow(num_parameters, 3, num_layers=1, width=16))
    [layer] = flow.flow.flows
    base = torch.randn(40, num_parameters, dtype=torch.float64)
    context = torch.randn(40, 3, dtype=torch.float64)
    plain = base
    with torch.no_grad():
        for i in range(num_parameters):
            columns = layer._columns(plain)
            splines = layer._splines(columns, context)[i]
            value, _ = rational_quadratic_spline(base[:, i], splines, layer.bound, inverse=True)
            plain = torch.cat([plain[:, :i], value.unsqueeze(-1), plain[:, i + 1 :]], dim=-1)
        assert torch.allclose(layer(base, context)[0], plain, atol=1e-9)


def test_draws_of_many_data_sets_at_once(monkeypatch):
    flow = randomized(SplineFlow(3, 2, width=16))
    scores = 2 * torch.randn(30, 4, 3, dtype=torch.float64)
    context = torch.randn(4, 2, dtype=torch.float64)
    with torch.no_grad():
        plain = AbstractPosteriorNetwork.log_prob_of_draws(flow, scores, context)
        whole = flow.sample(context, 30, torch.Generator().manual_seed(0))
        monkeypatch.setattr(flow_module, "_ROWS_PER_THREAD", 14)
        assert torch.allclose(flow.log_prob_of_draws(scores, context), plain, atol=1e-9)
        pieces = flow.sample(context, 30, torch.Generator().manual_seed(0))
    assert torch.allclose(whole, pieces, atol=1e-9)


def test_a_flow_integrates_to_one():
    flow = randomized(SplineFlow(2, 3, width=16), scale=0.2)
    grid = torch.linspace(-9, 9, 901, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    context = torch.ones(1, 3, dtype=torch.float64).expand(len(points), -1)
    with torch.no_grad():
        total = flow.log_prob(points, context).exp().sum() * (grid[1] - grid[0]) ** 2
    assert math.isclose(float(total), 1.0, abs_tol=0.01)


def test_flow_coordinates_depend_on_those_before():
    flow = randomized(SplineFlow(3, 2, num_layers=1, width=16))
    [layer] = flow.flow.flows
    x = torch.randn(1, 3, dtype=torch.float64)
    context = torch.zeros(1, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer.inverse(v, context)[0], x)[
        0, :, 0
    ]
    assert torch.equal(jacobian.triu(1), torch.zeros(3, 3, dtype=torch.float64))
    assert bool((jacobian.tril(-1)[[1, 2, 2], [0, 0, 1]] != 0).all())


def test_draws_depend_on_the_generator_alone():
    flow = SplineFlow(2, 3)
    context = torch.zeros(1, 3)
    state = torch.get_rng_state()
    first = flow.sample(context, 5, torch.Generator().manual_seed(4))
    second = flow.sample(context, 5, torch.Generator().manual_seed(4))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
