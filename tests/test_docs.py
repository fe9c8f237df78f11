"""What the documents show runs."""

import contextlib
import pathlib
import re
import runpy
import sys
import tempfile

import numpy as np
import pytensor.tensor as pt
import pytest
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable

import pymc_amortized as pma

from pymc_amortized.compile.backend import BatchedGraph
from tests.trained import data, normal_mean

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = {
    "quickstart.py": (
        ["--training", "150"],
        ["waiting_component", "The first 150 eruptions"],
        3,
    ),
    "cognitive_switch.py": (
        ["--training", "10", "--trials", "60", "--lengths", "50", "80"],
        ["person A, 60 trials", "switches: "],
        4,
    ),
}
SHORT = "training=pma.TrainingConfig(steps=100), progressbar=False"

pytestmark = pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning")


def code_blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


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


def test_using():
    names = {"pma": pma, "model": normal_mean(data()), "config": pma.TrainingConfig(steps=10)}
    names["ys"] = np.random.default_rng(0).normal(size=(3, len(data())))
    for block in code_blocks("docs/using.md"):
        exec(block, names)
    assert isinstance(names["posterior"].inference.estimator.summaries[0], pma.SetTransformer)


def test_extending():
    names = {"MyOp": MyOp, "MyRV": MyRV}
    for block in code_blocks("docs/extending.md"):
        exec(block, names)
    options = {"training": pma.TrainingConfig(steps=10), "cache": False, "progressbar": False}
    posterior = pma.fit(normal_mean(data()), networks=names["networks"], **options)
    assert posterior.inference.estimator.summaries[0].context_size == 2
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


@pytest.mark.filterwarnings("ignore::UserWarning:arviz.*")
@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example, capsys, monkeypatch, tmp_path):
    """Run twice: the second run trains nothing."""
    options, words, num_pictures = EXAMPLES[example]
    path = ROOT / "examples" / example
    monkeypatch.setattr(sys, "argv", [str(path), *options, "--output", str(tmp_path)])
    for _ in range(2):
        runpy.run_path(str(path), run_name="__main__")
        output = capsys.readouterr().out
        assert all(word in output for word in words)
        monkeypatch.setattr(sys.modules["pymc_amortized.fit"], "train", None)
    assert len(list(tmp_path.glob("*.png"))) == num_pictures


def test_every_example_is_run():
    assert {p.name for p in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_modules_in_the_design_exist():
    text = (ROOT / "docs" / "design.md").read_text()
    table = text.split("## Inside `compile/`")[1].split("##")[0]
    named = set(
        re.findall(
            r"`(\w+)`",
            "\n".join(row.split("|")[1] for row in table.splitlines() if row.startswith("| `")),
        )
    )
    existing = {p.stem for p in (ROOT / "pymc_amortized" / "compile").glob("*.py")}
    assert named == existing - {"__init__", "compat"}
