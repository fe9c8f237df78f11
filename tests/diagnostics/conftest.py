import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def report(trained):
    _, posterior = trained("mixture")
    return posterior.check(num_datasets=40, draws=200, random_seed=1)
