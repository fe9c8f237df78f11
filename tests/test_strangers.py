"""Models as strangers write them: densities against sums over all values, draws against PyMC's."""

import itertools
import warnings

import numpy as np
import pytensor.tensor as pt
import pytest

from pytensor.graph.basic import Constant
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

import pymc_amortized as pma

from pymc_amortized.compat import reference_mode, supports_time_varying_chains
from tests import by_hand
from tests.strangers import STRANGERS
from tests.two_sample import LEVEL, smallest_p_value

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PARALLEL_CHAINS = {"knowledge_tracing", "capture_and_recapture"}
NUM_POINTS = 3
NUM_DRAWS = 5_000


@pytest.fixture(scope="module", params=STRANGERS, ids=lambda s: s.name)
def read(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = request.param.model()
        return request.param, model, pma.compile_simulator(model, device="cpu")


def in_double_precision(graph):
    """Widen the constants 2 and 0.5 of a density, whose log-gamma PyTensor has in single."""
    wide = {
        v: pt.constant(v.data.astype("int64" if v.type.dtype.startswith("int") else "float64"))
        for v in ancestors([graph])
        if isinstance(v, Constant) and v.type.dtype in ("int8", "int16", "int32", "float32")
    }
    [found] = clone_replace([graph], wide, rebuild_strict=False)
    return found


def summed(model, counts):
    """Return the log density of a point with all discrete variables summed out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = model.compile_fn(
            in_double_precision(model.logp()), inputs=model.value_vars, mode=reference_mode()
        )
    shapes = {name: model.initial_point()[name].shape for name in counts}
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    choices = [range(k) for name, k in counts.items() for _ in range(sizes[name])]

    def log_density(point):
        densities = []
        for combination in itertools.product(*choices):
            pieces = np.split(np.array(combination, int), np.cumsum(list(sizes.values()))[:-1])
            values = {n: x.reshape(shapes[n]) for n, x in zip(counts, pieces, strict=False)}
            densities.append(float(compiled({**point, **values})))
        return np.logaddexp.reduce(densities)

    return log_density


def test_density(read):
    stranger, model, simulator = read
    if stranger.atoms:
        pytest.skip("PyMC adds a density to a probability: see tests/graph/test_atoms.py")
    if stranger.name in PARALLEL_CHAINS and not supports_time_varying_chains():
        pytest.skip("this version of pymc-extras has no density of parallel chains")
    draws = simulator.sample(NUM_POINTS, random_seed=5)
    vector = simulator.parameters.unconstrain(draws.parameters)
    ours = simulator.density.log_prior(simulator.parameters.split(vector))
    ours = ours + simulator.density.log_marginal(draws.parameters, simulator.observed_data)
    log_density = summed(model, stranger.counts)
    for row in range(NUM_POINTS):
        values = simulator.parameters.split(vector[row : row + 1])
        point = {model.rvs_to_values[model[n]].name: x[0].numpy() for n, x in values.items()}
        assert float(ours[row]) == pytest.approx(log_density(point), rel=1e-8, abs=1e-8)


def test_simulations(read):
    _, model, simulator = read
    variables = [*model.free_RVs, *model.observed_RVs]
    drawn = by_hand.draw(variables, NUM_DRAWS, 7)
    theirs = {v.name: x for v, x in zip(variables, drawn, strict=True)}
    simulation = simulator.sample(NUM_DRAWS, random_seed=11)
    ours = {n: x.numpy() for n, x in (simulation.parameters | simulation.observations).items()}
    ours |= {n: x.numpy() for n, x in simulation.indicators.items() if n in theirs}
    p_value, where = smallest_p_value(ours, {name: theirs[name] for name in ours})
    assert p_value > LEVEL, f"{where}: {p_value:.2g}"
