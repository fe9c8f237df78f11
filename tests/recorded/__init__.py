"""Ten models with the draws and digests that version 0.5.0 gave for them, to be given again.

Draws are the same to the last digits only where the same torch runs on the same kind of processor,
and digests where the same PyMC writes graphs down; where something differs, there is nothing to
compare. To record anew, for the versions that are installed::

    python -m tests.recorded
"""

import functools
import json
import pathlib
import sys
import warnings

import numpy as np
import torch

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result
from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from pymc_amortized.results.reading import sampled
from pymc_amortized.version import package_versions
from tests import trained
from tests.dwelling import dwelling

__all__ = [
    "MODELS",
    "draws",
    "machine",
    "parts",
    "read",
    "saved_file",
    "small_networks",
    "versions",
]

FOLDER = pathlib.Path(__file__).parent
STEPS = 10
DRAWS = 50

Y = trained.data()
STATES = trained.simulate_chain(trained.NUM_TIMES, 1)[1]
MODELS = {
    "normal_mean": functools.partial(trained.normal_mean, Y + 1),
    "beta_bernoulli": functools.partial(trained.beta_bernoulli, 20.0 * (Y > 0)),
    "mixture": functools.partial(trained.mixture, Y),
    "three_components": functools.partial(trained.mixture, Y, num_components=3),
    "unordered": functools.partial(trained.unordered, Y),
    "explicit": functools.partial(trained.explicit, trained.crossing_lines()),
    "g_and_k": functools.partial(trained.g_and_k, Y),
    "chain": functools.partial(trained.chain, STATES),
    "dwelling": functools.partial(dwelling, trained.simulate_chain(20, 1)[1]),
    "chain_without_density": functools.partial(trained.chain_without_density, STATES),
}


def versions() -> str:
    """Return what a digest depends on: Python writes functions down, PyMC and PyTensor graphs."""
    found = package_versions()
    python = "{}.{}".format(*sys.version_info[:2])
    return f"python {python}, pymc {found['pymc']}, pytensor {found['pytensor']}"


def machine() -> str:
    """Return what the last digits of a draw depend on."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{versions()}, torch {torch.__version__}, {capability}"


def parts(name: str) -> dict[str, str]:
    """Return the digests of the parts of a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pma.compile_simulator(MODELS[name](), device="cpu").fingerprint


def draws(name: str) -> dict[str, np.ndarray]:
    """Return draws of a network that is hardly trained, and of their correction."""
    config = pma.TrainingConfig(steps=STEPS, batch_size=64, num_validation=64, tolerance=None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            posterior = pma.fit(
                MODELS[name](), training=config, random_seed=5, progressbar=False, cache=False
            )
            for correction in ("none", "auto") if posterior.spec.has_density else ("none",):
                idata = posterior.sample(
                    draws=DRAWS, chains=1, correction=correction, random_seed=7
                )
                for variable, values in sampled(groups_of_result(idata)).data_vars.items():
                    found[f"{name} {correction} {variable}"] = np.asarray(values)
    finally:
        torch.set_num_threads(threads)
    return {
        key: x.astype(np.int8 if x.dtype.kind in "iu" else np.float32) for key, x in found.items()
    }


def read(kind: str) -> dict:
    """Return what was recorded: ``"digests"`` by versions, or ``"draws"`` of this machine."""
    if kind == "digests":
        path = FOLDER / "digests.json"
        return json.loads(path.read_text()) if path.exists() else {}
    for path in sorted(FOLDER.glob("draws_*.npz")):
        with np.load(path) as file:
            if str(file["machine"]) == machine():
                return {key: file[key] for key in file.files}
    return {}


def record() -> None:
    """Write digests and draws, beside those of other versions."""
    digests = read("digests")
    digests[versions()] = {name: parts(name) for name in MODELS}
    text = json.dumps(digests, indent=1, sort_keys=True)
    (FOLDER / "digests.json").write_text(text + "\n")
    arrays = {"machine": np.array(machine())}
    for name in MODELS:
        arrays |= draws(name)
    major = package_versions()["pymc"].split(".")[0]
    np.savez_compressed(FOLDER / f"draws_pymc{major}.npz", **arrays)


def small_networks() -> pma.Networks:
    """Return networks so small that a file of them can be kept."""
    return pma.Networks(
        summary=functools.partial(
            pma.OrderStatisticsNetwork, context_size=4, width=8, num_hidden=1, max_points=16
        ),
        posterior=functools.partial(pma.SplineFlow, num_layers=1, width=8, num_bins=4),
        classification=functools.partial(UnitClassifier, width=4),
    )


def saved_file() -> pathlib.Path:
    """Return where a network for ``MODELS["mixture"]`` is, as this version of PyMC read it."""
    return FOLDER / f"mixture_pymc{package_versions()['pymc'].split('.')[0]}.amortized"
