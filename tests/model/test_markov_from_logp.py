"""Chains whose transition is read from a density."""

import numpy as np
import pytensor.tensor as pt
import pytest

import pymc_amortized as pma

from tests.model.chains_by_hand import data, opaque

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc.exceptions.ImputationWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def test_a_density_by_time_points_is_a_known_chain():
    """The same function beside a density of every time point: a table, exact."""

    def logp(value, stay):
        kept = pt.eq(value[..., 1:], value[..., :-1])
        steps = pt.log(pt.switch(kept, stay, 1 - stay))
        valid = pt.ge(value, 0) & pt.le(value, 1)
        first = pt.full_like(value[..., :1], np.log(0.5), dtype="float64")
        terms = pt.concatenate([first, steps], axis=-1)
        return pt.switch(valid, terms, -np.inf)

    spec = pma.compile_simulator(opaque(data()[:8], logp=logp)).spec
    assert (spec.indicators[0].kind, spec.indicators[0].order) == ("markov", 1)
    assert spec.has_density


def test_a_density_with_a_longer_memory_is_not_known_as_a_table():
    def logp(value, stay):
        far = pt.eq(value[2:], value[:-2])
        steps = pt.log(pt.switch(far, stay, 1 - stay))
        terms = pt.concatenate([pt.full((2,), np.log(0.5)), steps])
        return pt.switch(pt.ge(value, 0) & pt.le(value, 1), terms, -np.inf)

    [indicator] = pma.compile_simulator(opaque(data()[:8], logp=logp)).spec.indicators
    assert indicator.kind == "simulated"
    assert "n_lags=2" in indicator.density
