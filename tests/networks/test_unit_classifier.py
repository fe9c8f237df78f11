"""The network of independent indicators."""

import pytest
import torch

from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import OWNER, make_units


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


@pytest.mark.parametrize("together", [False, True])
def test_log_odds_of_the_rows_of_a_unit_add_up(monkeypatch, together):
    """As those of independent values do; beside them is what rows show together (planted here)."""
    torch.manual_seed(0)
    network = UnitClassifier(
        UnitShape(1, 2, 2, num_components=2, owner=(0, 0), num_units=1), 4
    ).eval()
    if not together:
        nothing = torch.zeros(3, 1, 2)
        monkeypatch.setattr(network.of_units, "evaluate", lambda *_: nothing)
    values, parameters = torch.randn(1, 2, 1).expand(3, 2, 1), torch.randn(1, 4).expand(3, 4)
    shown = torch.tensor([[True, False], [False, True], [True, True]])
    with torch.no_grad():
        log_q = network(Units(values, shown), parameters)[:, 0, 0]
    first, second, both = log_q[:, 1] - log_q[:, 0]
    assert torch.allclose(first + second, both, atol=1e-5) != together
