"""Models as strangers write them, answered at once, beside long chains.

    python -m tests.benchmarks.strangers [--only NAME ...] [--draws 4000] [--without chains]

Needs the ``benchmark`` extra (nutpie, scikit-learn). Prints, of each of ``tests/strangers.py``,
seconds from the model to the answer and whether it was accepted; then, against four chains of
``--draws`` draws by NUTS with all indicators summed out: C2ST of 4,000 draws of either (0.5: not
told apart), the largest difference of a mean in standard deviations, the root mean square
difference of probabilities of indicators, and the largest R-hat of the chains. Where chains do not
agree (R-hat above 1.01) they are no reference.
"""

import argparse
import platform
import time
import warnings

import arviz
import numpy as np
import pymc as pm
import torch

import pymc_amortized as pma

from pymc_amortized.diagnostics import c2st
from tests.benchmarks.trust import attributes
from tests.strangers import STRANGERS

OPTIONS = {"random_seed": 1, "progressbar": False, "cache": False}
NUM_DRAWS = 4_000


def read_answer(model, **options):
    """Return seconds, the result, draws (S, P) of parameters, and probabilities of indicators."""
    started = time.perf_counter()
    with model:
        result = pma.sample(**options, **OPTIONS)
    seconds = time.perf_counter() - started
    names = [v.name for v in model.free_RVs if v.name in result["posterior"]]
    names = [n for n in names if result["posterior"][n].dtype.kind == "f"]
    draws = [result["posterior"][n].to_numpy() for n in names]
    flat = np.concatenate([x.reshape(x.shape[0] * x.shape[1], -1) for x in draws], axis=1)
    groups = result.children if hasattr(result, "children") else result.groups()
    tables = {}
    if "indicator_probabilities" in groups:
        several = result["indicator_probabilities"].data_vars.items()
        tables = {n: x.to_numpy() for n, x in several if x.dtype.kind == "f"}  # no paths
    return seconds, result, flat, tables


def thin(draws):
    return draws[np.linspace(0, len(draws) - 1, NUM_DRAWS).astype(int)]


def compare(stranger, num_draws, with_chains):
    """Return the row of a model."""
    seconds, result, draws, tables = read_answer(stranger.model(), draws=1_000, chains=4)
    row = f"| {stranger.what} | {seconds:.1f} | {attributes(result)['checked']} |"
    if not with_chains:
        return row
    _, chains, reference, expected = read_answer(
        stranger.model(), draws=num_draws, chains=4, correction="mcmc"
    )
    posterior = chains["posterior"]
    floats = [n for n, x in posterior.data_vars.items() if x.dtype.kind == "f"]
    rhat = max(float(arviz.rhat(posterior[n].to_dataset())[n].max()) for n in floats)
    apart = np.abs(draws.mean(0) - reference.mean(0)) / reference.std(0)
    z = [np.concatenate([t[n].ravel() for n in tables]) for t in (tables, expected) if t]
    rmse = float(np.sqrt(np.mean((z[0] - z[1]) ** 2))) if z else float("nan")
    told = c2st(thin(draws), thin(reference))
    return f"{row} {told:.3f} | {apart.max():.2f} | {rmse:.4f} | {rhat:.3f} |"


def main():
    names = [s.name for s in STRANGERS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--draws", type=int, default=4_000)
    parser.add_argument("--without", choices=["chains"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.machine()}; {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}\n"
    )
    columns = "" if arguments.without else " C2ST | means, sd | z, RMSE | R-hat of chains |"
    print(f"| model | seconds | checked |{columns}")
    print("|---|---|---|" + "---|" * (0 if arguments.without else 4))
    for stranger in STRANGERS:
        if stranger.name in arguments.only:
            print(compare(stranger, arguments.draws, not arguments.without), flush=True)


if __name__ == "__main__":
    main()
