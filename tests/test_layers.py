"""The layer table of docs/design.md, read off every import, function-level ones too."""

import ast
import pathlib
import sys

import pytest

import pymc_amortized

ROOT = pathlib.Path(pymc_amortized.__file__).parent

LAYERS = {
    "errors": 0,
    "rng": 0,
    "typing": 0,
    "version": 0,
    "transforms": 1,
    "label_switching": 1,
    "markov": 1,
    "importance": 1.0,
    "student_mixture": 1.0,
    "distance": 1.0,
    "pool": 1.1,
    "adaptive": 1.2,
    "networks": 1,
    "compile": 2,
    # Row 3 has an order of its own: the simulator hands out the parameter space, and data sets are
    # laid out for it.
    "parameters": 3.0,
    "simulation": 3.0,
    "invariance": 3.05,
    "symmetry": 3.1,
    "canonical": 3.15,
    "simulator": 3.2,
    "choose_order": 3.3,
    "frames": 3.0,
    "layout": 3.4,
    "ties": 3.4,
    "datasets": 3.6,
    "exact": 3.6,
    "estimator": 4.0,
    "source": 4.5,
    "proposal_space": 4.5,
    "checkpoint": 5.0,
    "progress": 5.0,
    "cache": 5.5,
    "training_config": 5.0,
    "training": 5.5,
    "training_record": 5.7,
    "mcmc": 6.0,
    "model_inference": 5.9,
    "inference": 6.0,
    "draws": 6.02,
    "weighing": 6.03,
    "chains": 6.04,
    "correction": 6.05,
    "indicators": 6.1,
    "axes": 6.1,
    "path_draws": 6.12,
    "state_draws": 6.15,
    "state_filter": 6.2,
    "report": 6.1,
    "inference_data": 6.2,
    "dataset_list": 6.3,
    "many": 6.3,
    "request": 6.3,
    "add_indicators": 6.4,
    "answer_labels": 6.15,
    "answering": 6.3,
    "labelled_draws": 6.0,
    "relabel": 6.5,
    "switching": 6.35,
    "network_report": 6.3,
    "diagnostics": 7.0,
    "posterior": 7.5,
    "assembly": 7.6,
    "fit": 8.0,
    "sampling": 8.2,
    "__init__": 9,
}
EVERYWHERE = {"numpy", "torch"}
THIRD_PARTY = {
    0: set(),
    1: {"scipy", "normflows"},
    2: {"pymc", "pytensor", "pymc_extras", "arviz", "xarray"},
    3: set(),
    4: set(),
    5: {"rich", "safetensors", "platformdirs"},
    6: {"arviz", "xarray", "pandas", "pymc", "nutpie"},
    7: {"arviz", "xarray", "matplotlib", "pandas", "scipy", "sklearn"},
    8: {"pymc"},
    9: {"pymc"},
}


def unit_of(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path):
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_come_from_rows_above(path):
    unit = unit_of(path)
    layer = LAYERS[unit]
    for name in imports_of(path):
        top, *rest = name.split(".")
        if top == "pymc_amortized":
            imported = rest[0] if rest else "__init__"
            assert LAYERS[imported] < layer or imported == unit, f"{unit} imports {imported}"
        elif top not in sys.stdlib_module_names:
            allowed = EVERYWHERE | THIRD_PARTY[int(layer)]
            assert top in allowed, f"{unit} (layer {layer}) imports {top}"


def test_one_module_alone_knows_the_generations():
    for path in MODULES:
        if path.name != "compat.py":
            text = path.read_text()
            assert "__version__." not in text
            assert "import_module" not in text, path


def test_some_libraries_have_one_home():
    homes = {
        "nutpie": {"mcmc.py"},
        "sklearn": {"two_sample.py"},
        "matplotlib": {"plots.py"},
        "normflows": {"flow.py"},
        "rich": {"progress.py"},
        "safetensors": {"checkpoint.py"},
    }
    compile_only = {"arviz": {"compat.py"}, "xarray": {"compat.py"}}
    for path in MODULES:
        inside = compile_only if unit_of(path) == "compile" else {}
        for name in imports_of(path):
            allowed = {**homes, **inside}.get(name.split(".")[0])
            assert allowed is None or path.name in allowed, f"{path} imports {name}"


def test_every_unit_is_in_the_table():
    assert {unit_of(path) for path in MODULES} == set(LAYERS)


def test_the_walk_sees_function_level_imports(tmp_path):
    source = tmp_path / "module.py"
    source.write_text("def f():\n    import arviz\n    from xarray import Dataset\n")
    assert list(imports_of(source)) == ["arviz", "xarray"]
