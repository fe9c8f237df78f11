"""The first answer for a model: seconds, cold, beside nutpie and PyMC, with all that they compile.

    python -m tests.benchmarks.first_answer [--only NAME ...] [--runs 5] [--without pymc ...]

Needs the ``benchmark`` extra (nutpie). Each model is answered by ``pma.sample`` as it comes, then
by nutpie and by ``pm.sample`` (four chains on two cores, 1,000 draws after 1,000 of tuning; of
indicators that are written out the marginal likelihood, by pymc-extras), each time in a process of
its own: what is imported is imported, caches of networks and of compiled C are empty. Ours has all
that it returns: the reading of the model, the search for exchangeable components, the second
estimate, and draws of the indicators. NUTS has no indicators. Seconds of the wall, and of all
processors in parentheses: of children, too, which run the compilers. Data are simulated from the
model where it has none of its own.
"""

import argparse
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import pymc as pm
import torch

from examples import cognitive_switch, quickstart
from tests.benchmarks import larger
from tests.benchmarks.correction import NAMES, model_of
from tests.benchmarks.hmm import poisson_states
from tests.benchmarks.trust import attributes

SAMPLERS = ("amortized", "nutpie", "pymc")


def simulated(name, marginal=False, seed=3):
    """A model of the benchmark of corrections, with data drawn from it."""
    model = model_of(name, marginal)
    rng = np.random.default_rng(seed)
    y = pm.draw(model_of(name)["y"], random_seed=rng)
    with model:
        pm.set_data({"data": y})
    return model


def geyser():
    model = quickstart.build(np.genfromtxt(quickstart.DATA, delimiter=",", names=True)["waiting"])
    # Where both means begin at their prior's, NUTS does not start.
    model.rvs_to_initial_values[model["mu"]] = np.array([60.0, 80.0])
    return model


def race():
    return cognitive_switch.build(cognitive_switch.read("A", 400))


MODELS = {
    **{name: lambda name=name: simulated(name) for name in NAMES},
    "geyser": geyser,
    "Poisson chain, T = 400": poisson_states,
    "race of one person, T = 400": race,
    **larger.MODELS,
}


def amortized(name):
    import pymc_amortized as pma

    model = MODELS[name]()
    spent = Stopwatch()
    with model:
        facts = attributes(pma.sample(random_seed=1, progressbar=False))
    found = spent.read()
    answer = f"{facts['checked']}, {facts['rung']}, {facts['confirmed_by']}"
    return {**found, "size": size_of(model), "answer": answer}


def nuts(name, sampler):
    import arviz
    import nutpie

    model = MODELS[name]()
    spent = Stopwatch()
    discrete = [v.name for v in model.free_RVs if v.dtype.startswith("int")]
    if name == "explicit":
        model = simulated(name, marginal=True)
    elif discrete:
        model = larger.marginalize(model, discrete)
    options = {"draws": 1_000, "tune": 1_000, "chains": 4, "cores": 2}
    if sampler == "nutpie":
        compiled = nutpie.compile_pymc_model(model)
        trace = nutpie.sample(compiled, progress_bar=False, seed=1, **options)
    else:
        with model:
            trace = pm.sample(progressbar=False, random_seed=1, **options)
    found = spent.read()
    table = arviz.summary(trace, var_names=[v.name for v in model.free_RVs])
    rhat, ess = (table[c].astype(float) for c in ("r_hat", "ess_bulk"))
    return {**found, "answer": f"R-hat {rhat.max():.2f}, ESS {ess.min():.0f}"}


class Stopwatch:
    """Seconds of the wall, and of processors: this process and its children."""

    def __init__(self):
        self._wall, self._processors = time.perf_counter(), self._spent()

    def read(self):
        wall = time.perf_counter() - self._wall
        return {"seconds": wall, "processors": self._spent() - self._processors}

    @staticmethod
    def _spent():
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def size_of(model):
    start = model.initial_point()
    return sum(start[v.name].size for v in model.continuous_value_vars)


def in_process(name, sampler):
    """Run this file for one model and one sampler, with empty caches; return what it prints."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.first_answer"]
    with tempfile.TemporaryDirectory() as directory:
        flags = f"base_compiledir={directory}/pytensor"
        flags = ",".join(filter(None, [os.environ.get("PYTENSOR_FLAGS"), flags]))
        kept = {"PYTENSOR_FLAGS": flags, "PYMC_AMORTIZED_CACHE": f"{directory}/networks"}
        kept["NUMBA_CACHE_DIR"] = f"{directory}/numba"
        found = subprocess.run(
            [*command, "--part", sampler, "--only", name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **kept},
        )
    if found.returncode:
        return {"seconds": float("nan"), "processors": float("nan"), "answer": "fails"}
    return json.loads(found.stdout.strip().splitlines()[-1])


def medians(name, sampler, runs):
    found = [in_process(name, sampler) for _ in range(runs)]
    middle = {k: statistics.median(x[k] for x in found) for k in ("seconds", "processors")}
    return {**found[0], **middle}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--without", nargs="*", choices=SAMPLERS, default=[])
    parser.add_argument("--part", choices=SAMPLERS, default=None)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.part:
        [name] = arguments.only
        ours = arguments.part == "amortized"
        print(json.dumps(amortized(name) if ours else nuts(name, arguments.part)))
        return
    samplers = [s for s in SAMPLERS if s not in arguments.without]
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}; medians "
        f"of {arguments.runs}\n"
    )
    print("| model | D |" + "".join(f" {s}: seconds (CPU) | its answer |" for s in samplers))
    print("|---|---|" + "---|---|" * len(samplers))
    for name in arguments.only:
        found = {s: medians(name, s, arguments.runs) for s in samplers}
        cells = "".join(
            f" {x['seconds']:.1f} ({x['processors']:.1f}) | {x['answer']} |" for x in found.values()
        )
        print(f"| {name} | {found[samplers[0]].get('size', '')} |{cells}", flush=True)


if __name__ == "__main__":
    main()
