"""Fingerprints, files and draws of version 0.5.0, which must stay what they were."""

import numpy as np
import pytest

import pymc_amortized as pma

from pymc_amortized.graph.rules import selected_component as selection
from pymc_amortized.model import ordered_prior as label_order
from pymc_amortized.model.fingerprint import describe_value
from tests import recorded

pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
OF_INDICATORS = {"mean"}  # what is computed from them
NAMES = {
    label_order.LabelOrder: "pymc_amortized.compile.label_order.LabelOrder",
    pma.AbstractClassificationNetwork: (
        "pymc_amortized.networks.contracts.AbstractClassificationNetwork"
    ),
    pma.AbstractFlow: "pymc_amortized.networks.contracts.AbstractFlow",
    pma.AbstractPosteriorNetwork: "pymc_amortized.networks.contracts.AbstractPosteriorNetwork",
    pma.AbstractSummaryNetwork: "pymc_amortized.networks.contracts.AbstractSummaryNetwork",
    pma.ConvolutionalNetwork: "pymc_amortized.networks.sequences.ConvolutionalNetwork",
    pma.DeepSet: "pymc_amortized.networks.deep_set.DeepSet",
    pma.OrderStatisticsNetwork: "pymc_amortized.networks.order_statistics.OrderStatisticsNetwork",
    pma.RecurrentNetwork: "pymc_amortized.networks.sequences.RecurrentNetwork",
    pma.SetTransformer: "pymc_amortized.networks.set_transformer.SetTransformer",
    pma.SoftClusterNetwork: "pymc_amortized.networks.soft_clusters.SoftClusterNetwork",
    pma.SoftStateNetwork: "pymc_amortized.networks.soft_states.SoftStateNetwork",
    pma.SplineFlow: "pymc_amortized.networks.flow.SplineFlow",
    pma.Units: "pymc_amortized.networks.contracts.Units",
    pma.UnitShape: "pymc_amortized.networks.contracts.UnitShape",
    selection.SelectedComponentRV: "pymc_amortized.compile.selection.SelectedComponentRV",
}


@pytest.mark.parametrize("cls", NAMES, ids=lambda cls: cls.__name__)
def test_own_classes_keep_the_names_that_networks_are_found_by(cls):
    assert describe_value(cls) == NAMES[cls]


def test_a_subclass_of_the_user_has_no_name_of_ours():
    class Mine(pma.DeepSet):
        pass

    assert describe_value(Mine) != describe_value(pma.DeepSet)


@pytest.mark.parametrize("name", recorded.MODELS)
def test_digests_are_those_of_the_version_before(name):
    found = recorded.read("digests").get(recorded.versions())
    if found is None:
        pytest.skip(f"nothing recorded for {recorded.versions()}")
    assert recorded.parts(name) == found[name]


def test_a_file_of_the_version_before_is_read():
    if recorded.versions() not in recorded.read("digests"):
        pytest.skip(f"nothing recorded for {recorded.versions()}")
    posterior = pma.load(
        recorded.saved_file(), recorded.MODELS["mixture"](), networks=recorded.small_networks()
    )
    assert posterior.record.versions["pymc_amortized"] == "0.5.0"
    idata = posterior.sample(draws=500, random_seed=1)
    assert idata.posterior.attrs["checked"] == "accepted"


def same_distribution(one, two):
    """Whether means of independent draws (chains, S, ...) differ by chance alone."""
    one, two = (x.reshape(-1, *x.shape[2:]).astype(float) for x in (one, two))
    error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two))
    return bool((np.abs(one.mean(0) - two.mean(0)) <= 4.5 * error + 1e-6).all())


def test_draws_that_are_not_of_the_same_distribution_are_seen():
    one, two = np.random.default_rng(1).normal(size=(2, 1, recorded.DRAWS, 3))
    assert same_distribution(one, two)
    assert not same_distribution(one, two + 1.2)


@pytest.mark.parametrize("name", recorded.MODELS)
def test_draws_are_those_of_the_version_before(name):
    """Those of networks digit by digit. When adaptive rounds end, last digits of weights decide,
    which differ from one processor to the next: then it is the distribution that must be the same.
    So it is of indicators, which are drawn from other random numbers since.
    """
    before = recorded.read("draws")
    if not before:
        pytest.skip(f"nothing recorded for {recorded.machine()}")
    found = recorded.draws(name)
    assert found.keys() == {key for key in before if key.split()[0] == name}
    for key, values in found.items():
        same = np.allclose(values, before[key], rtol=1e-4, atol=1e-4)
        _, correction, variable = key.split()
        if correction == "auto" or values.dtype.kind == "i" or variable in OF_INDICATORS:
            same = same or same_distribution(values, before[key])
        assert same, key
