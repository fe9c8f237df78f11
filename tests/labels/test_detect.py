"""Whether labels switch, as a result shows it."""

import re

import numpy as np
import pytest
import xarray

import pymc_amortized as pma

from tests.labels.switched import mixture, result


def switched(how):
    """Two separated components: chains or draws with labels exchanged, or neither."""
    rng = np.random.default_rng(2)
    mu = np.array([-2.0, 2.0]) + rng.normal(0, 0.2, (3, 100, 2))
    sigma = np.exp(rng.normal(0, 0.1, (3, 100, 2)))
    swap = np.zeros((3, 100), dtype=bool)
    if how == "between":
        swap[1] = True
    if how == "within":
        swap[:, 60:] = True
    mu, sigma = (np.where(swap[..., None], x[..., ::-1], x) for x in (mu, sigma))
    dims = ("chain", "draw", "component")
    return xarray.DataTree.from_dict(
        {"posterior": xarray.Dataset({"mu": (dims, mu), "sigma": (dims, sigma)})}
    )


@pytest.mark.parametrize("how", ["not", "between", "within"])
def test_switching_is_seen(how):
    found = pma.detect_label_switching(switched(how))
    assert (found.between, found.within) == (how == "between", how == "within")
    assert found.found == (how != "not")
    assert ("what to do: pma.relabel" in repr(found)) == found.found
    assert repr(found).startswith(
        {
            "not": "Labels of 'component' do not switch",
            "between": "Labels of 'component' switch between chains",
            "within": "Labels of 'component' switch within chains",
        }[how]
    )
    assert "<li>" in found._repr_html_()
    before, after = found.rhat["mu"]
    assert after < 1.02
    assert (before > 1.1) == (how != "not")
    assert len(found.table()) == 3
    relabelled = pma.relabel(switched(how), "pra", pivot=(0, 0))
    assert not pma.detect_label_switching(relabelled).found


@pytest.mark.parametrize(("shuffled", "location"), [(True, 0.0), (False, 0.0), (True, [0, 1, 2])])
def test_switching_is_said_where_indicators_are_added(shuffled, location, caplog):
    """Of components that the model does not tell apart, and of no others."""
    with caplog.at_level("WARNING", logger="pymc_amortized"):
        pma.add_indicators(result(shuffled=shuffled), mixture(location=location), random_seed=1)
    said = re.search("Labels of 'w, mu, y_component' switch .*within chains", caplog.text)
    assert bool(said) == (shuffled and location == 0.0)
