"""What the package exports, what importing it costs, and what it changes: one documented hook."""

import compileall
import importlib
import inspect
import os
import pathlib
import pkgutil
import shutil
import subprocess
import sys

import pytest

import pymc_amortized as pma

PUBLIC = {
    "AbstractClassificationNetwork",
    "AbstractFlow",
    "AbstractLatentNetwork",
    "AbstractPosteriorNetwork",
    "AbstractSummaryNetwork",
    "AmortizedPosterior",
    "AcceptanceRule",
    "AmortizedSampler",
    "ConvolutionalNetwork",
    "DeepSet",
    "LikelihoodNetwork",
    "ModelSpec",
    "Networks",
    "NumberOfComponents",
    "OrderStatisticsNetwork",
    "ParameterSpace",
    "RecurrentNetwork",
    "SetTransformer",
    "Simulation",
    "Simulator",
    "SoftClusterNetwork",
    "SoftStateNetwork",
    "SplineFlow",
    "StateFilter",
    "TrainingConfig",
    "TrainingRecord",
    "UnitShape",
    "Units",
    "VectorNetwork",
    "CalibrationReport",
    "IdentityNetwork",
    "LabelSwitching",
    "MixtureDensity",
    "ConditionalPriorVAE",
    "UninformativePriorVAE",
    "add_indicators",
    "detect_label_switching",
    "relabel",
    "answers_table",
    "diagnostics",
    "errors",
    "batch_rule",
    "cache",
    "compile_simulator",
    "fit",
    "load",
    "number_of_components",
    "sample",
    "sampler",
}
MODULES = [module.name for module in pkgutil.walk_packages(pma.__path__, prefix="pymc_amortized.")]


def test_public_names():
    assert set(pma.__all__) == PUBLIC
    for name in PUBLIC:
        assert hasattr(pma, name)


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_export(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in module.__all__:
        thing = getattr(module, exported)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{name}.{exported} has no docstring"


def test_public_signature():
    signature = inspect.signature(pma.compile_simulator)
    assert list(signature.parameters) == ["model", "device", "backend"]
    assert signature.parameters["device"].default == "auto"
    assert signature.parameters["backend"].default == "auto"


def test_signatures_are_as_in_pymc():
    parameters = inspect.signature(pma.sample).parameters
    for name in ("draws", "chains", "random_seed", "progressbar", "var_names", "model"):
        assert name in parameters
    assert parameters["draws"].default == 1000
    assert list(inspect.signature(pma.fit).parameters) == [
        "model",
        "sizes",
        "training",
        "networks",
        "simulations",
        "data",
        "rounds",
        "order_by",
        "device",
        "random_seed",
        "progressbar",
        "callback",
        "cache",
    ]


def run(code, folder=None):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=os.environ | ({} if folder is None else {"PYTHONPATH": str(folder)}),
    ).stdout


GLOBALS = """
import inspect, random, warnings
import numpy as np, pymc as pm, pymc_extras, pytensor, torch
import pytensor.link.pytorch.dispatch
def state():
    # Seeds and dtypes, PyMC's doors, and every dispatcher and class that others share.
    from pytensor.link.pytorch.dispatch import pytorch_funcify
    from pymc.logprob.abstract import _logprob
    from pymc.distributions.shape_utils import _change_dist_size
    return (
        np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state().tolist(),
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        pytensor.config.floatX, pytensor.config.mode, list(warnings.filters),
        getattr(pm.sample, "__wrapped__", pm.sample), pm.sample.__name__, pm.sample.__module__,
        dict(vars(pm.Model)), {k: v for k, v in vars(pm).items() if k != "sample"},
        len(pytorch_funcify.registry), len(_logprob.registry), len(_change_dist_size.registry),
    )
"""


def test_importing_changes_nothing_but_the_hook():
    code = GLOBALS + "\nbefore = state()\nimport pymc_amortized\nprint(before == state())"
    assert run(code).strip() == "True"


def test_the_guard_sees_a_change():
    changes = ("torch.manual_seed(0)", "pm.sample = print", "np.random.seed(3)", "pm.draw = print")
    code = GLOBALS + "".join(
        f"\nbefore = state()\n{change}\nprint(before == state())" for change in changes
    )
    assert run(code).split() == ["False"] * len(changes)


def test_import_time(tmp_path):
    """Below 0.3 s on top of the dependencies, once in up to three times, on a noisy machine.

    As it is installed: with the bytecode that pip writes.
    """
    installed = tmp_path / "pymc_amortized"
    shutil.copytree(pathlib.Path(pma.__file__).parent, installed)
    assert compileall.compile_dir(installed, quiet=1)
    code = (
        "import time, pymc, pymc_extras, torch, pytensor.link.pytorch.dispatch\n"
        "import arviz, filelock, normflows, platformdirs, rich.progress\n"
        "import safetensors.torch, xarray\n"
        "start = time.perf_counter()\nimport pymc_amortized\nprint(time.perf_counter() - start)\n"
        "print(pymc_amortized.__file__)"
    )
    seconds = []
    while len(seconds) < 3 and not (seconds and seconds[-1] < 0.3):
        found, path = run(code, tmp_path).split()
        assert pathlib.Path(path).parent == installed
        seconds.append(float(found))
    assert seconds[-1] < 0.3, seconds


def test_top_level_of_the_repository():
    root = pathlib.Path(pma.__file__).parents[1]
    if not (root / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    allowed = {
        "pymc_amortized",
        "tests",
        "examples",
        "docs",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CITATION.cff",
    }
    found = {path.name for path in root.iterdir() if not path.name.startswith((".", "__"))}
    assert found - {"build", "dist", "pymc_amortized.egg-info"} == allowed
