import getpass
import os
import pathlib
import tempfile
import warnings

# Before Numba is imported: machine code that runs for a second need not be the fastest, and is kept
# apart from the user's own.
os.environ.setdefault("NUMBA_OPT", "1")
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(pathlib.Path(tempfile.gettempdir()) / f"numba_{getpass.getuser()}")
)

import pytensor
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.fitting import train_posterior
from pymc_amortized.inference import amortized
from tests import by_hand
from tests.cases import BY_NAME, CASES, Case
from tests.trained import TRAINED, data, normal_mean

NUM_DRAWS = 20_000
LONGEST = (
    "test_ladder",
    "test_markov_states",
    "test_every_model",
    "test_docs",
    "test_simulator",
    "test_batched",
    "test_loop",
    "test_posterior",
    "test_nuts",
    "test_check",
)
PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

if PARALLEL:
    torch.set_num_threads(1)
# Where each variable was made, which PyTensor notes for its errors: a tenth of the time.
pytensor.config.traceback__limit = 0


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    """Networks that tests build begin where they began the last time, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Networks that tests train are kept away from the user's, and validated on fewer data sets.

    And fewer simulations show where typical data lie.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_posterior, "_NUM_VALIDATION_DATASETS", 8)
        patch.setattr(train_posterior, "_NUM_TO_COVER", 8)
        patch.setattr(amortized, "_NUM_FOR_REFERENCE", 2_000)
        base = tmp_path_factory.getbasetemp()
        shared = base.parent if PARALLEL else base
        patch.setenv("PYMC_AMORTIZED_CACHE", str(shared / "cache"))
        yield


@pytest.fixture
def interpreted():
    """PyTensor runs what it compiles meanwhile in Python: C, or Numba, take longer than they save.

    ``reference_mode`` does not reach the inner graphs of operations, of which there are many.
    """
    with pytensor.config.change_flags(cxx="", linker="vm"):
        yield


@pytest.fixture(scope="session")
def trained():
    """Models with the networks trained for them, each trained once."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = TRAINED[name]()
        return found[name]

    return get


@pytest.fixture(scope="session")
def poor():
    """A network for the conjugate mean that has hardly been trained."""
    config = pma.TrainingConfig(steps=10, tolerance=None)
    return pma.fit(normal_mean(data()), training=config, random_seed=1, progressbar=False)


@pytest.fixture(scope="session")
def simulators():
    """Simulators of the cases, each compiled once."""
    compiled = {}

    def get(name):
        if name not in compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = BY_NAME[name].model()
                compiled[name] = (model, pma.compile_simulator(model, device="cpu"))
        return compiled[name]

    return get


@pytest.fixture(scope="session")
def simulations(simulators):
    """20,000 simulated data sets of each case, as NumPy arrays by name."""
    drawn = {}

    def get(name):
        if name not in drawn:
            _, simulator = simulators(name)
            drawn[name] = as_arrays(simulator.sample(NUM_DRAWS, random_seed=11))
        return drawn[name]

    return get


@pytest.fixture(scope="session")
def references():
    """Draws of each case's hand-written model by ``pm.draw``, constraints applied."""
    drawn = {}

    def get(name):
        if name not in drawn:
            drawn[name] = draw_by_hand(BY_NAME[name], NUM_DRAWS)
        return drawn[name]

    return get


def as_arrays(simulation):
    everything = {**simulation.parameters, **simulation.indicators, **simulation.observations}
    return {name: tensor.numpy() for name, tensor in everything.items()}


def draw_by_hand(case: Case, num_draws: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variables = case.hand()
        draws = by_hand.draw(list(variables.values()), num_draws, 7)
    named = dict(zip(variables, draws, strict=True))
    if case.accept is not None:
        keep = case.accept(named)
        named = {name: values[keep] for name, values in named.items()}
    return named


def pytest_collection_modifyitems(items):
    """Begin with the modules that take longest: both processes then end at about the same time."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=lambda case: case.name)
