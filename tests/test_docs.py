"""What the documents show runs."""

import contextlib
import json
import pathlib
import re
import runpy
import sys
import tempfile
import types

import arviz
import numpy as np
import pytensor.tensor as pt
import pytest
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable

import pymc_amortized as pma

from pymc_amortized.fitting import train_posterior
from pymc_amortized.graph.backend import BatchedGraph
from tests.cases import CASES
from tests.strangers import STRANGERS
from tests.trained import data, normal_mean

ROOT = pathlib.Path(__file__).parents[1]
SHORT = "training=pma.TrainingConfig(steps=50), progressbar=False"

pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning")


def code_blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


def test_every_model_that_is_tested_is_in_the_table():
    section = (ROOT / "docs" / "models.md").read_text().split("## Every model that is tested")[1]
    named = re.findall(r"^\| `(\w+)` \|", section.split("\n## ")[0], flags=re.MULTILINE)
    varying = {"time_varying_transition"}  # a case of newer versions of pymc-extras alone
    known = {case.name for case in [*CASES, *STRANGERS]} | varying
    assert len(named) == len(set(named))
    assert set(named) == known


def test_readme():
    """The blocks of the README, one after the other, with a short training."""
    path = ROOT / "examples" / "data" / "faithful.csv"
    names = {"waiting": np.genfromtxt(path, delimiter=",", names=True)["waiting"]}
    names["new_waiting"] = names["waiting"][::-1]
    first, *others = code_blocks("README.md")
    assert 'method="amortized"' in first
    first = first.replace("random_seed=1", f"random_seed=1, {SHORT}")
    with contextlib.chdir(names.setdefault("directory", tempfile.mkdtemp())):
        for block in (first, *others):
            block = re.sub(r"pma.fit\(model", f"pma.fit(model, {SHORT}", block)
            exec(block, names)
    assert names["idata"].indicator_probabilities["waiting_component"].shape == (272, 2)


class MyOp(Op):
    def make_node(self, x, y):
        return Apply(self, [pt.as_tensor(x), pt.as_tensor(y)], [x.type()])

    def perform(self, node, inputs, output_storage):
        raise AssertionError("the rule of the document is not used")


class MyRV(RandomVariable):
    name = "my"
    signature = "(),()->()"
    dtype = "floatX"


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_using(monkeypatch, tmp_path):
    """With a cache of its own: answers begin at any network that the cache has for the model.

    To a summary network of ten steps one data set in a hundred looks atypical.
    """
    monkeypatch.setenv("PYMC_AMORTIZED_CACHE", str(tmp_path))
    names = {"pma": pma, "model": normal_mean(data()), "config": pma.TrainingConfig(steps=10)}
    names["ys"] = np.random.default_rng(0).normal(size=(3, len(data())))
    for block in code_blocks("docs/using.md"):
        exec(block.replace("callback=watch", f"callback=watch, {SHORT}"), names)
    assert isinstance(names["posterior"].inference.estimator.summaries[0], pma.SetTransformer)


def test_diagnostics(trained):
    _, posterior = trained("mixture")
    names = {"posterior": posterior}
    for block in code_blocks("docs/diagnostics.md"):
        if "plot_ecdf_pit" in block and not hasattr(arviz, "plot_ecdf_pit"):
            continue
        exec(block.replace("check(", "check(num_datasets=20, draws=60, "), names)
    assert names["report"].num_datasets == 20


@pytest.mark.usefixtures("interpreted")
def test_labels():
    """With draws of a Metropolis sampler, which compiles quickly."""
    names = {"y": np.random.default_rng(0).normal(3.0 * np.repeat([-1, 0, 1], 10), 1)}
    quick = "draws=50, tune=20, chains=2, cores=1, progressbar=False, step=pm.Metropolis()"
    quick += ", compute_convergence_checks=False"
    for block in code_blocks("docs/labels.md"):
        block = re.sub(r"pma\.fit\((\w+)", rf"pma.fit(\1, {SHORT}", block)
        exec(block.replace("pm.sample(", f"pm.sample({quick}, "), names)
    assert names["idata_mu"].posterior.attrs["labels_ordered_by"] == "mu"
    assert (names["idata_mu"].posterior["mu"].diff("component") > 0).all()
    assert names["everywhere"].posterior.attrs["labels"] == "symmetric"
    mu = names["relabelled"].posterior["mu"].mean(("chain", "draw"))
    assert (mu.diff("component") > 0).all()
    assert names["found"].indicator_probabilities["y_component"].dims == ("unit", "component")
    assert names["ordered_model"] is not names["sorted_model"]


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning")
def test_extending():
    names = {"MyOp": MyOp, "MyRV": MyRV}
    for block in code_blocks("docs/extending.md"):
        exec(block, names)
    options = {"training": pma.TrainingConfig(steps=10), "cache": False, "progressbar": False}
    posterior = pma.fit(normal_mean(data()), networks=names["networks"], **options)
    assert posterior.inference.estimator.summaries[0].context_size == 2
    assert type(posterior.inference.estimator.posterior) is names["Normal"]
    assert np.isfinite(
        posterior.sample(draws=50, correction="importance").sample_stats["log_q"]
    ).all()
    posterior = pma.fit(normal_mean(data()), networks=names["without_density"], **options)
    for correction in ("none", "importance"):
        drawn = posterior.sample(draws=50, correction=correction)
        assert np.isnan(drawn.sample_stats["log_q"]).all()
    x = pt.dvector()
    [result] = BatchedGraph([x], [MyOp()(x, x)])([torch.ones(2, 3, dtype=torch.float64)])
    assert result.tolist() == [[0.0] * 3] * 2
    node = MyRV().make_node(pt.random.type.random_generator_type(), None, x, 2.0)
    drawn = BatchedGraph([x], [node.outputs[1]])(
        [torch.full((5_000, 3), 7.0, dtype=torch.float64)],
        generator=torch.Generator().manual_seed(0),
    )[0]
    assert abs(float(drawn.mean()) - 7) < 0.1
    assert abs(float(drawn.std()) - 2) < 0.05


def run_example(name, options, monkeypatch):
    path = ROOT / "examples" / name
    monkeypatch.setattr(sys, "argv", [str(path), *options])
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.filterwarnings("ignore::UserWarning:arviz.*")
def test_number_of_components(capsys, monkeypatch):
    run_example("number_of_components.py", ["--largest", "2"], monkeypatch)
    assert "Most probable number of components: 2" in capsys.readouterr().out


def pictures_in(path):
    return len(list(path.glob("*.png")))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.filterwarnings("ignore::UserWarning:arviz.*")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_quickstart(capsys, monkeypatch, tmp_path):
    """Run twice: the second run trains nothing."""
    for options in (["--output", str(tmp_path)], []):
        options = ["--training", "150", *options]
        run_example("quickstart.py", options, monkeypatch)
        output = capsys.readouterr().out
        assert "waiting_component" in output
        assert "The first 150 eruptions" in output
        monkeypatch.setattr(train_posterior, "train", None)
    assert pictures_in(tmp_path) == 3


@pytest.mark.usefixtures("interpreted")
@pytest.mark.filterwarnings("ignore::UserWarning:arviz.*")
@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cognitive_switch(capsys, monkeypatch, tmp_path):
    """The script, and then the notebook, which finds the network that the script has trained."""
    options = ["--training", "10", "--trials", "40", "--lengths", "40", "50"]
    run_example(
        "cognitive_switch.py", [*options, "--output", str(tmp_path / "script")], monkeypatch
    )
    output = capsys.readouterr().out
    assert "person A, 40 trials" in output
    assert "switches: " in output
    assert pictures_in(tmp_path / "script") == 4

    monkeypatch.setattr(train_posterior, "train", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(Image=pathlib.Path))
    notebook = json.loads((ROOT / "examples" / "cognitive_switch.ipynb").read_text())
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            block = "".join(cell["source"])
            for long, short in (
                ("LENGTHS}", "(40, 50)}"),
                ("steps=1500", "steps=10"),
                ('read("A", 400)\n', 'read("A", 50)\n'),
                ('read("H")', 'read("H", 42)'),
                ("350", "45"),
            ):
                block = block.replace(long, short)
            exec(block, names)
    assert pictures_in(tmp_path) == 3


def test_every_example_is_run():
    files = {p.name for p in (ROOT / "examples").iterdir() if p.suffix in (".py", ".ipynb")}
    scripts = {"quickstart.py", "cognitive_switch.py", "number_of_components.py"}
    assert files == {*scripts, "cognitive_switch.ipynb"}


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_files_that_are_named_exist():
    """Other than in what is said of earlier versions."""
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        if document.name != "changelog.md":
            for path in re.findall(r"\b(?:tests|examples)/[\w/]+\.py\b", document.read_text()):
                assert (ROOT / path).exists(), f"{document.name}: {path}"
