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
