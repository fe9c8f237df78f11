"""What the documents show runs."""

import pathlib
import re
import runpy

import numpy as np
import pytensor.tensor as pt
import pytest
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.compile.backend import BatchedGraph

ROOT = pathlib.Path(__file__).parents[1]


def code_blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


def test_readme():
    path = ROOT / "examples" / "data" / "faithful.csv"
    names = {"waiting": np.genfromtxt(path, delimiter=",", names=True)["waiting"]}
    [block] = code_blocks("README.md")
    exec(block, names)
    assert names["simulation"].indicators["waiting_component"].shape == (10_000, 272)


class MyOp(Op):
    def make_node(self, x, y):
        return Apply(self, [pt.as_tensor(x), pt.as_tensor(y)], [x.type()])

    def perform(self, node, inputs, output_storage):
        raise AssertionError("the rule of the document is not used")


class MyRV(RandomVariable):
    name = "my"
    signature = "(),()->()"
    dtype = "floatX"


def test_extending():
    for block in code_blocks("docs/extending.md"):
        exec(block, {"MyOp": MyOp, "MyRV": MyRV})
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


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert "waiting_component" in capsys.readouterr().out


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
