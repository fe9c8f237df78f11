"""Learned soft assignments to clusters, and the moments of what they assign."""

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.networks.summary.deep_set import second_order
from pymc_amortized.networks.summary.soft_clusters import SoftAssignment, SoftClusterNetwork
from pymc_amortized.networks.units import Units, UnitShape
from tests.networks.unit_tables import make_units

WEIGHTS = np.array([0.2, 0.5, 0.3])
STATE = torch.zeros(1, 4)


def assignment(num_features, residuals, log_scales, biases):
    """Clusters that do not depend on the state: residuals (M, R, 1 + F), which begin with a 1."""
    found = SoftAssignment(num_features, len(biases), 4)
    with torch.no_grad():
        for layer, values in (
            (found.weights, residuals),
            # The largest log scale is 6, which is approached smoothly.
            (found.log_scales, 6 * np.arctanh(np.asarray(log_scales) / 6)),
            (found.biases, biases),
        ):
            layer.weight.zero_()
            layer.bias.copy_(torch.as_tensor(values).flatten())
    return found


def shares(clusters, rows):
    values = torch.as_tensor(rows, dtype=torch.float32).unsqueeze(0)
    with torch.no_grad():
        return clusters.logits(STATE, values).softmax(1)[0].numpy()


def test_assignments_of_scalars_are_those_of_a_mixture_of_normals():
    mean, sd = np.array([-1.0, 0.5, 2.0]), np.array([0.4, 1.0, 2.5])
    residuals = np.stack([-mean, np.ones(3)], axis=-1)
    found = shares(
        assignment(1, residuals, -np.log(sd), np.log(WEIGHTS)), np.linspace(-4, 4, 9)[:, None]
    )
    joint = WEIGHTS * stats.norm(mean, sd).pdf(np.linspace(-4, 4, 9)[:, None])
    assert np.allclose(found, (joint / joint.sum(1, keepdims=True)).T, atol=1e-5)


def test_assignments_of_vectors_are_those_of_a_mixture_of_normals():
    """Residuals are whitened; the scale, which all of them share, is 1."""
    rng = np.random.default_rng(1)
    factors = np.tril(rng.normal(size=(3, 2, 2))) + 1.5 * np.eye(2)
    mean, whitening = rng.normal(size=(3, 2)), np.linalg.inv(factors)
    residuals = np.concatenate([-whitening @ mean[..., None], whitening], axis=-1)
    biases = np.log(WEIGHTS) - np.linalg.slogdet(factors)[1]
    rows = rng.normal(0, 2, (7, 2))
    found = shares(assignment(2, residuals, np.zeros(3), biases), rows)
    normals = [stats.multivariate_normal(m, f @ f.T) for m, f in zip(mean, factors, strict=True)]
    joint = WEIGHTS * np.stack([normal.pdf(rows) for normal in normals], axis=1)
    assert np.allclose(found, (joint / joint.sum(1, keepdims=True)).T, atol=1e-5)


def test_moments_are_those_of_each_cluster():
    """The first cluster has rows 0 to 39, the second rows 40 to 59; the others are padding."""
    values = make_units(1, 70, 2).values
    share = torch.zeros(1, 2, 70)
    share[:, 0, :40] = share[:, 1, 40:60] = 1
    found = SoftAssignment(2, 2, 4).moments(second_order(values), share, torch.tensor([60]))
    for cluster, rows in enumerate((slice(40), slice(40, 60))):
        own = values[0, rows].numpy()
        covariance = np.cov(own.T, ddof=0)
        expected = [
            np.log(len(own) / 60) / 2,
            *own.mean(0),
            *covariance[np.triu_indices(2)],
            *np.log(np.diag(covariance)) / 4,
        ]
        # Sizes are kept off 0 by 1e-3, and shares of all rows too.
        assert np.allclose(found[0, cluster], expected, atol=2e-3)


def test_moments_of_a_cluster_without_rows_are_finite():
    share = torch.zeros(1, 2, 5)
    share[:, 0] = 1
    products = second_order(make_units(1, 5, 2).values).requires_grad_()
    found = SoftAssignment(2, 2, 4).moments(products, share, torch.tensor([5]))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(products.grad).all()


@pytest.mark.parametrize("num_features", [1, 3])
def test_a_summary_is_of_the_size_asked_for_and_of_no_row_that_is_padding(num_features):
    torch.manual_seed(0)
    network = SoftClusterNetwork(
        UnitShape(num_features, 1, 9), context_size=20, num_clusters=3, num_rounds=3
    ).eval()
    units = make_units(4, 9, num_features)
    mask = units.mask.clone()
    mask[:, 6:] = False
    changed = units.values.clone()
    changed[:, 6:] = 1e3
    with torch.no_grad():
        found = network(Units(changed, mask))
        assert found.shape == (4, 20)
        assert torch.allclose(found, network(Units(units.values[:, :6], mask[:, :6])), atol=1e-4)
