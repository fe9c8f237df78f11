"""One builder of results: one data set is the result of many with B = 1."""

import numpy as np
import pytest

from tests.trained import NUM_TIMES, data, simulate_chain

OPTIONS = {"draws": 25, "chains": 2, "random_seed": 4}
DATA = {
    "mixture": {"y": data()},
    "unordered": {"y": data()},
    "chain": {"y": simulate_chain(NUM_TIMES, 1)[1]},
}
pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")


@pytest.mark.parametrize("name", DATA)
def test_one_data_set_is_the_first_of_many(trained, name):
    _, posterior = trained(name)
    one = posterior.sample(DATA[name], **OPTIONS)
    many = posterior.sample_many([DATA[name]], progressbar=False, **OPTIONS)
    for group in ("posterior", "indicators", "sample_stats", "indicator_probabilities"):
        alone, among = one[group], many[group]
        assert set(alone.data_vars) == set(among.data_vars)
        for variable in alone.data_vars:
            found = among[variable].isel(dataset=0)
            assert found.dims == alone[variable].dims
            assert np.array_equal(found, alone[variable], equal_nan=True), variable


@pytest.mark.parametrize("name", DATA)
def test_indicators_are_of_the_smallest_type(trained, name):
    _, posterior = trained(name)
    [indicator] = posterior.spec.indicators
    for idata in (
        posterior.sample(**OPTIONS),
        posterior.sample_many([DATA[name]], progressbar=False, **OPTIONS),
        posterior.sample(labels="symmetric", **OPTIONS),
    ):
        values = np.asarray(idata.indicators[indicator.name])
        assert values.dtype == np.int8
        assert set(np.unique(values)) <= set(indicator.support)


def test_nothing_is_drawn_that_was_not_asked_for(trained, monkeypatch):
    _, posterior = trained("mixture")
    from pymc_amortized.inference.indicators.independent import IndependentConditional

    drawn = []
    right = IndependentConditional.draw

    def counted(self, draws, generator):
        drawn.append(self.indicator.name)
        return right(self, draws, generator)

    monkeypatch.setattr(IndependentConditional, "draw", counted)
    few = posterior.sample(var_names=["mu"], **OPTIONS)
    assert drawn == []
    assert list(few.posterior.data_vars) == ["mu"]
    assert "indicator_probabilities" not in few
    posterior.sample_many([{"y": data()}], var_names=["mu"], progressbar=False, **OPTIONS)
    assert drawn == []
    everything = posterior.sample(**OPTIONS)
    assert drawn == ["y_component"]
    # What comes before the indicators does not depend on whether they are drawn.
    assert np.array_equal(few.posterior["mu"], everything.posterior["mu"])


def test_indicators_are_drawn_where_a_deterministic_needs_them(trained):
    _, posterior = trained("explicit")
    idata = posterior.sample(var_names=["mean"], **OPTIONS)
    whole = posterior.sample(**OPTIONS)
    assert list(idata.posterior.data_vars) == ["mean"]
    assert np.array_equal(idata.posterior["mean"], whole.posterior["mean"])
    slope, z = np.asarray(whole.posterior["slope"]), np.asarray(whole.indicators["z"])
    expected = np.take_along_axis(slope, z.astype(int), -1) * np.linspace(-1, 1, z.shape[-1])
    assert np.allclose(whole.posterior["mean"], expected)


def test_wide_supports_have_wider_types():
    from pymc_amortized.inference.indicators.conditional import smallest_type

    found = [
        smallest_type(s) for s in ((0, 1), (-128,), (-126, 0), (0, 127), (0, 128), (0, 70_000))
    ]
    assert [str(t) for t in found] == [
        "torch.int8",
        "torch.int16",
        "torch.int8",
        "torch.int8",
        "torch.int16",
        "torch.int32",
    ]
