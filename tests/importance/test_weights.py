import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.weights import (
    effective_sample_size,
    expected_share_distinct,
    pareto_smooth,
    resample,
)


def weights(k, shape, seed=0):
    """Log weights whose tail has the shape k."""
    return torch.as_tensor(k * np.random.default_rng(seed).exponential(size=shape))


def by_the_book(log_weights):
    """One column by the definition: the tail's exceedances, fitted by maximum likelihood."""
    x = np.sort(log_weights - log_weights.max())
    num_tail = int(np.ceil(min(0.2 * len(x), 3 * np.sqrt(len(x)))))
    excess = np.exp(x[-num_tail:]) - np.exp(x[-num_tail - 1])
    return stats.genpareto.fit(excess, floc=0)[0]


@pytest.mark.parametrize("k", [0.1, 0.5, 0.9, 1.5])
def test_k_is_that_of_the_tail(k):
    log_weights = weights(k, (20_000, 4))
    _, pareto_k = pareto_smooth(log_weights)
    for column, found in zip(log_weights.T.numpy(), pareto_k.tolist(), strict=True):
        assert abs(found - by_the_book(column)) < 0.06
    # 424 exceedances: the standard error of k is about (1 + k) / 20, and four columns are averaged.
    assert abs(float(pareto_k.mean()) - k) < 4 * (1 + k) / 40


def test_k_tells_tails_apart():
    """A planted fault: a tail heavier by 0.5 is seen."""
    light = pareto_smooth(weights(0.5, (4_000, 20)))[1]
    heavy = pareto_smooth(weights(1.0, (4_000, 20)))[1]
    assert float(light.max()) < 0.85
    assert float(heavy.min()) > 0.65


def test_smoothed_weights():
    log_weights = weights(1.5, (4_000, 3))
    smoothed, _ = pareto_smooth(log_weights + torch.tensor([0.0, 500.0, -500.0]))
    assert torch.allclose(smoothed.logsumexp(0), torch.zeros(3, dtype=torch.float64), atol=1e-9)
    order = log_weights.argsort(0)
    assert bool((smoothed.gather(0, order).diff(dim=0) >= -1e-12).all())
    shift = (smoothed - log_weights).gather(0, order)
    num_tail = 190
    assert torch.allclose(shift[:-num_tail], shift[0].expand(4_000 - num_tail, 3))
    assert not torch.allclose(shift[-num_tail:], shift[0].expand(num_tail, 3))


def test_smoothing_is_column_by_column():
    log_weights = weights(0.7, (500, 2, 3))
    smoothed, pareto_k = pareto_smooth(log_weights)
    assert smoothed.shape == (500, 2, 3)
    assert pareto_k.shape == (2, 3)
    alone, k = pareto_smooth(log_weights[:, 1, 2])
    assert torch.allclose(alone, smoothed[:, 1, 2])
    assert torch.allclose(k, pareto_k[1, 2])


def test_smoothing_reduces_the_error():
    """Estimates of a mean by weights with k = 0.7 vary less when smoothed."""
    rng = np.random.default_rng(1)
    value = torch.as_tensor(rng.exponential(size=(1_000, 200)))
    log_weights = 0.7 * value
    raw = (log_weights - log_weights.logsumexp(0)).exp()
    smoothed = pareto_smooth(log_weights)[0].exp()
    assert float((smoothed * value).sum(0).std()) < float((raw * value).sum(0).std())


def test_degenerate_weights():
    none = torch.full((100,), -torch.inf)
    smoothed, k = pareto_smooth(none)
    assert bool(torch.isneginf(smoothed).all())
    assert float(k) == torch.inf
    one = torch.full((100,), -torch.inf)
    one[3] = 0.0
    smoothed, k = pareto_smooth(one)
    assert float(smoothed.exp()[3]) == pytest.approx(1.0)
    assert float(k) == torch.inf
    assert float(pareto_smooth(torch.zeros(10))[1]) == torch.inf  # too few to tell
    bad = torch.zeros(100)
    bad[0] = torch.nan
    assert float(pareto_smooth(bad)[0].exp()[0]) == 0.0


def test_threshold():
    assert AcceptanceRule().largest_k(10_000) == 0.7
    assert AcceptanceRule().largest_k(100) == pytest.approx(0.5)
    assert 0 <= AcceptanceRule().largest_k(5) < 0.1


def test_effective_sample_size():
    assert float(effective_sample_size(torch.full((50,), 1 / 50).log())) == pytest.approx(50)
    assert float(effective_sample_size(torch.tensor([1.0, 0.0]).log())) == pytest.approx(1)


def test_resampling_is_systematic():
    probabilities = torch.as_tensor(np.random.default_rng(0).dirichlet(np.ones(300)))
    index = resample(probabilities.log(), 1_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(index, minlength=300)
    assert bool((counts >= (1_000 * probabilities).floor() - 1e-9).all())
    assert bool((counts <= (1_000 * probabilities).ceil() + 1e-9).all())
    assert not bool((index.diff() >= 0).all())
    assert torch.equal(
        index, resample(probabilities.log(), 1_000, torch.Generator().manual_seed(0))
    )


def test_draws_without_weight_stay_so():
    """Fewer draws of weight than the tail is long: the others of the tail must not be given any."""
    log_weights = torch.full((4000, 1), -torch.inf, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    log_weights[100:280, 0] = torch.randn(180, generator=generator, dtype=torch.float64)
    smoothed, _ = pareto_smooth(log_weights)
    assert torch.equal(torch.isneginf(smoothed), torch.isneginf(log_weights))


@pytest.mark.parametrize("num_draws", [50, 400])
def test_the_share_of_different_draws_is_what_resampling_gives(num_draws):
    """On average over 400 times, for weights that are flat, and for such as are not."""
    generator = torch.Generator().manual_seed(num_draws)
    spread = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    noise = torch.randn(300, 3, generator=generator, dtype=torch.float64)
    log_weights = (spread * noise).log_softmax(0)
    expected = expected_share_distinct(log_weights, num_draws)
    picked = [resample(log_weights, num_draws, generator) for _ in range(400)]
    counts = [[column.unique().numel() for column in index.T] for index in picked]
    found = np.array(counts) / num_draws
    # One systematic sample differs from the expectation by a few draws at most.
    assert np.abs(found.mean(0) - expected.numpy()).max() < 0.01
    # A planted fault: Kish's effective sample size is another number.
    ess = np.minimum(effective_sample_size(log_weights).numpy() / num_draws, 1)
    assert np.abs(ess - expected.numpy()).max() > 0.1
