"""Each kind of model that is refused, and the way out of its message, followed to the letter."""

import ast
import itertools
import pathlib
import re

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.compat import supports_time_varying_chains
from tests import refused_indicators  # noqa: F401  (adds its rows)
from tests.refused import REFUSED, Y, code_of, run

ROOT = pathlib.Path(__file__).parents[1]
BY_NAME = {row.name: row for row in REFUSED}
BELOW = {  # kinds that have tests of their own, below the table
    "a function or variable that fails where it is drawn",
    "a continuous variable that pymc-extras has marginalized",
}

pytestmark = [
    pytest.mark.usefixtures("fast"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore:Numba will use object mode"),
]


@pytest.fixture
def fast():
    """Nothing is compiled by C or Numba, which would take a hundred times longer than it runs."""
    with pytensor.config.change_flags(cxx="", mode="FAST_COMPILE"):
        yield


def read(model):
    """Read a model, draw from it, and evaluate its density."""
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(20, random_seed=1).parameters
    if simulator.density is not None:
        found = simulator.density.log_marginal(parameters, simulator.observed_data)
        assert bool(torch.isfinite(found).all())


def answer(model):
    return pma.sample(draws=200, model=model, random_seed=1, progressbar=False, cache=False)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_a_refused_model_and_its_way_out(row):
    door = answer if row.answered else read
    with pytest.raises(row.error) as info:
        door(row.model())
    message = str(info.value)
    assert type(info.value) is row.error
    assert message.startswith("Expected")
    assert row.says in message
    door(row.model(code_of(message, row.line)))


UNCHANGED = {
    "parameter_of_data": {},
    "indicator_of_data": {},
    "depends_on_missing_values": {"imputed": "x_unobserved"},
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_ways_out_that_leave_the_density_as_it_was(name):
    """That of PyMC, of all that is in the model."""
    row = BY_NAME[name]
    with pytest.raises(row.error) as info:
        read(row.model())
    before, after = row.model(), row.model(code_of(str(info.value)))
    point = {
        name: value + 0.4 if value.dtype.kind == "f" else value
        for name, value in after.initial_point().items()
    }
    renamed = {UNCHANGED[name].get(key, key): value for key, value in point.items()}
    assert float(before.compile_logp()(renamed)) == pytest.approx(
        float(after.compile_logp()(point))
    )


def failing_function():
    def draw(mu, rng=None, size=None):
        return rng.normal(np.atleast_1d(mu)[np.array([30])], 1, size=size)

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        components = [pm.CustomDist.dist(mu, random=draw), pm.Normal.dist(mu, 1)]
        pm.Mixture("y", [0.4, 0.6], components, observed=Y)
    return model


def test_a_function_that_fails_is_drawn_alone_to_see_why():
    model = failing_function()
    with pytest.raises(errors.UnsupportedModelError, match=r"y to be drawn; .* IndexError") as info:
        read(model)
    with pytest.raises(IndexError, match="out of bounds"):
        run(code_of(str(info.value)), {"model": model})


@pytest.mark.skipif(not supports_time_varying_chains(), reason="pymc-extras is too old")
def test_a_continuous_variable_that_is_marginalized():
    with pm.Model() as model:
        x = pm.Normal("x", pm.Normal("mu", 0, 1), 1)
        pm.Normal("y", x, 1, observed=0.5)
    with pytest.raises(errors.UnsupportedModelError, match="a continuous one in 'y'") as info:
        read(pmx.marginalize(model, ["x"]))
    run(code_of(str(info.value)), {"pma": pma, "model": model})


def rectified(mu):
    z = pm.Bernoulli("z", 0.4, shape=len(Y))
    pm.Normal("y", pt.maximum(mu - 50, 0)[z], 1, observed=Y)


def test_a_dependence_that_no_prior_draw_shows():
    far = {"mu": torch.tensor([[0.0, 60.0]], dtype=torch.float64)}
    with pm.Model() as model:
        rectified(pm.Normal("mu", 0, 1, shape=2))
    simulator = pma.compile_simulator(model, device="cpu")
    with pytest.raises(errors.UnsupportedModelError, match="they do") as info:
        simulator.density.log_marginal(far, simulator.observed_data)
    with pm.Model() as model:
        rectified(run(code_of(str(info.value)), {"sd": 50, "K": 2}))
    simulator = pma.compile_simulator(model, device="cpu")
    found = simulator.density.log_marginal(far, simulator.observed_data)
    assert bool(torch.isfinite(found).all())


def test_units_that_cannot_be_varied_in_number():
    with pm.Model() as model:
        x = pm.Data("x", Y)
        pm.Normal("y", pm.Normal("b", 0, 1) * (x - x.mean()), 1, observed=Y)
    with pytest.raises(errors.UnsupportedModelError, match="Leave it out of `sizes`") as info:
        pma.fit(model, sizes={"y": (2, 9)}, progressbar=False)
    run(code_of(str(info.value)), {"pma": pma, "model": model})


def test_a_chain_of_pairs_is_the_chain():
    """Of a state and the one after it, as the message says, beside a sum over all paths."""
    row = BY_NAME["two_states_of_a_chain"]
    with pytest.raises(row.error) as info:
        read(row.model())
    simulator = pma.compile_simulator(row.model(code_of(str(info.value))), device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    found = simulator.density.log_marginal(parameters, simulator.observed_data)
    for P, mu, ours in zip(parameters["P"].numpy(), parameters["mu"].numpy(), found, strict=True):
        total = 0.0
        for path in itertools.product(range(2), repeat=len(Y) + 1):
            z = np.array(path)
            likelihood = stats.norm.pdf(Y, mu * (z[:-1] + 2 * z[1:]), 1).prod()
            total += 0.5 * P[z[:-1], z[1:]].prod() * likelihood
        assert float(ours) == pytest.approx(np.log(total), abs=1e-9)


def test_every_kind_of_the_document_has_a_model():
    section = (ROOT / "docs" / "models.md").read_text().split("## What is refused")[1]
    rows = re.findall(r"^\| (.*?) \|", section.split("\n## ")[0], flags=re.MULTILINE)[1:]
    kinds = [kind for row in rows for kind in row.split("; ")]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {row.kind for row in REFUSED} | BELOW


READING = (
    "model",
    "graph",
    "data",
    "symmetry",
    "inference/assembly.py",
    "simulation/training_data.py",
)
OF_MODELS = {row.error.__name__ for row in REFUSED} - {"DensityUnavailableError"}


def refusals():
    """Return the text, and the names in it, of each error that refuses a model."""
    for place in READING:
        path = ROOT / "pymc_amortized" / place
        for module in [path] if path.suffix else path.rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", None) in OF_MODELS:
                    parts = list(ast.walk(node))
                    texts = [p.value for p in parts if isinstance(p, ast.Constant)]
                    names = {p.id for p in parts if isinstance(p, ast.Name)}
                    yield "".join(x for x in texts if isinstance(x, str)), names


def test_every_refusal_of_a_model_has_its_way_out_as_code():
    found = [(text, names) for text, names in refusals() if "Expected" in text]
    assert len(found) > 25
    assert [
        text for text, names in found if not {"way_out"} & names and "\n\n    " not in text
    ] == []
