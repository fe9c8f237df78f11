import pytest

import pymc_amortized as pma

from tests.trained import data, normal_mean


@pytest.fixture(scope="session")
def poor():
    """A network for the conjugate mean that has hardly been trained."""
    config = pma.TrainingConfig(steps=10, tolerance=None)
    return pma.fit(normal_mean(data()), training=config, random_seed=1, progressbar=False)
