"""Normal log densities in few sweeps: against the formula, and torch's own gradients."""

import contextlib

import numpy as np
import pytest
import torch

from pymc_amortized.graph import quadratic
from pymc_amortized.graph.gradients import bare_gradients
from pymc_amortized.graph.quadratic import less_half_square

# By name, the shapes of x, mu, sigma and the offset; only those of the first two are polynomials.
SHAPES = {
    "components": ((1, 20, 1), (5, 1, 3), (5, 1, 3), (5, 1, 3)),
    "events": ((1, 20, 1, 2), (5, 1, 3, 1), (1, 1, 1, 1), (5, 1, 3, 1)),
    "regression": ((1, 20, 1), (5, 20, 3), (5, 1, 3), (5, 1, 3)),
    "known scale": ((1, 20, 1), (5, 1, 3), (1, 1, 1), (1, 1, 1)),
    "offset of units": ((1, 20, 1), (5, 1, 3), (5, 1, 3), (1, 20, 1)),
    "data sets": ((5, 20, 1), (5, 1, 3), (5, 1, 3), (5, 1, 3)),
    "wide scale": ((5, 1), (1, 1), (5, 4), (1, 1)),
    "few values": ((1, 2, 1), (5, 1, 3), (5, 1, 3), (5, 1, 3)),
}
POLYNOMIALS = ("components", "events", "known scale")


def arguments(name, *, shift=0.0):
    generator = torch.Generator().manual_seed(0)
    x, mu, sigma, offset = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES[name]
    )
    return x + shift, mu + shift, (sigma / 2).exp(), offset


def by_formula(x, mu, sigma, offset):
    return offset - ((x - mu) / sigma) ** 2 / 2


@pytest.mark.parametrize("shift", [0.0, 1e5])
@pytest.mark.parametrize("name", SHAPES)
def test_values(name, shift):
    given = arguments(name, shift=shift)
    found = less_half_square(*given)
    torch.testing.assert_close(found, by_formula(*given), rtol=1e-9, atol=1e-9)
    found.mul_(0)  # It is the caller's own.
    for before, after in zip(arguments(name, shift=shift), given, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_gradients(name, bare):
    """Each over all arguments, over parameters, and over one alone."""
    generator = torch.Generator().manual_seed(1)
    for wanted in ((0, 1, 2, 3), (1, 2, 3), (1,), (2,), (3,)):
        found = []
        for function in (less_half_square, by_formula):
            given = [x.requires_grad_(i in wanted) for i, x in enumerate(arguments(name))]
            with bare_gradients() if bare else contextlib.nullcontext():
                table = function(*given)
            generator.manual_seed(1)
            weights = torch.randn(table.shape, generator=generator, dtype=torch.float64)
            leaves = [given[i] for i in wanted]
            found.append(torch.autograd.grad((table * weights).sum(), leaves))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SHAPES)
def test_which_are_polynomials(name):
    polynomial = quadratic._Polynomial.of(*arguments(name))
    assert (polynomial is not None) == (name in POLYNOMIALS)


@pytest.mark.parametrize("num_small", [1, 4])
def test_small_scales_lose_no_digits(num_small, monkeypatch):
    """Written as polynomials they would: one draw of them, and most."""
    x, mu, sigma, offset = arguments("components")
    sigma[:num_small] *= 1e-7
    mu[:num_small] = x[0, 3] + sigma[:num_small]
    expected = by_formula(x, mu, sigma, offset)
    found = less_half_square(x, mu, sigma, offset)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-8)
    # A planted fault: without the second look digits are lost.
    monkeypatch.setattr(quadratic, "_LARGEST_LOSS", np.inf)
    careless = less_half_square(x, mu, sigma, offset)
    assert float((careless - expected)[:num_small, 3].abs().max()) > 1e-4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_it_is(bad):
    x, mu, sigma, offset = arguments("components")
    for place in (x[0, 4], mu[2, 0], sigma[2, 0], offset[1, 0]):
        before = place.clone()
        place.fill_(bad)
        found, expected = less_half_square(x, mu, sigma, offset), by_formula(x, mu, sigma, offset)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
        place.copy_(before)
