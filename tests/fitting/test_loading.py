"""Networks that are read again."""

import warnings

import numpy as np
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import (
    AccuracyWarning,
    NetworkFileError,
)
from tests.answered import sample
from tests.trained import data, normal_mean

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]


def test_networks_of_ones_own(tmp_path):
    import functools

    model = normal_mean(data())
    networks = pma.Networks(
        summary=functools.partial(pma.SetTransformer, width=16),
        posterior=functools.partial(pma.SplineFlow, num_layers=1, width=16),
    )
    config = pma.TrainingConfig(steps=20, batch_size=32)
    options = {"training": config, "random_seed": 1, "progressbar": False, "cache": tmp_path / "c"}
    posterior = pma.fit(model, networks=networks, **options)
    assert isinstance(posterior.inference.estimator.summaries[0], pma.SetTransformer)
    assert posterior.record.fingerprint != pma.fit(model, **options).record.fingerprint
    path = tmp_path / "own"
    posterior.save(path)
    with pytest.raises(NetworkFileError, match="networks=networks"):
        pma.load(path, model)
    again = pma.load(path, model, networks=networks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        assert np.array_equal(
            sample(again, draws=5).posterior["mu"], sample(posterior, draws=5).posterior["mu"]
        )
