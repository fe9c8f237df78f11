"""Networks on the ten tasks of the benchmark of simulation-based inference, side by side.

    pip install --no-deps sbibm==1.1.0
    python -m tests.benchmarks.sbi [--tasks two_moons sir] [--networks flow cp-vae] \\
        [--simulations 10000] [--seeds 5] [--observation 1] [--kept my.jsonl]

Each network sees so many simulations, a tenth of them for validation, and no other. Printed are,
as mean ± standard deviation over seeds, C2ST (0.5 is best) and BayesFlow's MMD of its 10,000 draws
for one observation, of draws corrected by the density where there is one, seconds of training, and
what was published [1]_. Every run is kept in a file, with the machine and versions it was made by,
and not repeated; results.jsonl has those that were measured since runs are kept.

References
----------
.. [1] Nautiyal, M., Shternshis, A., Hellander, A. & Singh, P. (2024). Variational autoencoders for
   efficient simulation-based inference. arXiv:2411.14511
"""

import argparse
import functools
import json
import pathlib
import platform
import statistics
import time
import warnings

import numpy as np
import pymc as pm
import torch

import pymc_amortized as pma

from pymc_amortized.diagnostics import c2st, mmd
from tests.benchmarks.sbi import TASKS
from tests.benchmarks.sbi.observations import NUM_DRAWS, observation, reference

NETWORKS = {
    "flow": pma.Networks(posterior=pma.SplineFlow),
    "cp-vae": pma.Networks(
        summary=pma.IdentityNetwork,
        posterior=functools.partial(pma.ConditionalPriorVAE, width=64, num_hidden=1),
    ),
    "cp-vae, K = 8": pma.Networks(
        posterior=functools.partial(pma.ConditionalPriorVAE, num_samples=8)
    ),
    "up-vae": pma.Networks(summary=pma.IdentityNetwork, posterior=pma.UninformativePriorVAE),
    "mixture": pma.Networks(posterior=pma.MixtureDensity),
    "auto": pma.Networks(posterior="auto"),
    "sequential": pma.Networks(posterior=pma.SplineFlow),
}
ROUNDS = 4  # of the last
PUBLISHED = {  # C2ST of NPE, JANA, APT, CP-VAE and UP-VAE at 10,000, 20,000 and 30,000 simulations
    ("two_moons", 10_000): (0.5749, 0.5206, 0.5189, 0.6443, 0.6510),
    ("two_moons", 20_000): (0.5931, 0.5151, 0.5202, 0.6072, 0.6565),
    ("two_moons", 30_000): (0.5411, 0.5123, 0.5147, 0.6346, 0.6212),
    ("bernoulli_glm", 10_000): (0.9121, 0.9678, 0.8404, 0.6955, 0.8270),
    ("bernoulli_glm", 20_000): (0.8988, 0.9692, 0.8328, 0.6697, 0.8311),
    ("bernoulli_glm", 30_000): (0.8898, 0.9589, 0.8353, 0.6427, 0.7819),
    ("sir", 10_000): (0.8378, 0.8697, 0.9433, 0.8524, 0.8390),
    ("sir", 20_000): (0.9122, 0.9175, 0.9434, 0.8976, 0.8731),
    ("sir", 30_000): (0.9405, 0.9343, 0.9457, 0.8857, 0.8893),
}
RESULTS = pathlib.Path(__file__).with_name("results.jsonl")
FIGURES = ("c2st", "mmd", "corrected", "loss", "seconds")


def run(task, network, simulations, seed, number):
    """Train, draw, compare: return the figures of one run by name."""
    model, target = TASKS[task](observation(task, number)), reference(task, number)
    config = pma.TrainingConfig(simulations=simulations, tolerance=None)
    one = {"data": {"y": observation(task, number)}, "rounds": ROUNDS}
    posterior = pma.fit(
        model,
        **(one if network == "sequential" else {}),
        training=config,
        networks=NETWORKS[network],
        random_seed=seed,
        progressbar=False,
        cache=False,
        device="cpu",
    )
    # A few more may have told whether components are exchangeable, when the model was read.
    assert simulations <= posterior.record.simulations <= simulations + 10
    found = {"loss": posterior.record.validation_loss, "seconds": posterior.record.seconds}
    options = {"draws": NUM_DRAWS, "chains": 1, "random_seed": seed, "progressbar": False}
    draws = theta_of(posterior.sample(correction="none", **options))
    found |= {"c2st": c2st(target, draws), "mmd": mmd(target, draws, "bayesflow")}
    began = time.perf_counter()
    answer = posterior.sample(correction="auto", **options)
    found |= {"seconds_corrected": time.perf_counter() - began}
    found |= {"checked": answer.posterior.attrs["checked"]}
    return found | {"corrected": c2st(target, theta_of(answer))}


def theta_of(idata):
    """Return the draws (S, D) of a result."""
    theta = np.asarray(idata.posterior["theta"])
    return theta.reshape(-1, theta.shape[-1])


def spoken(values):
    """Return mean ± standard deviation."""
    known = [x for x in values if x is not None]
    if not known:
        return ""
    digits = 0 if max(known) >= 10 else 3
    spread = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.{digits}f}{spread}"


def print_table(rows, task, simulations):
    """Print the runs of one task and budget, one line for each network."""
    print(f"\n{task}, {simulations:,} simulations\n")
    print("| network | seeds | C2ST | MMD | corrected, C2ST | held-out loss | training, s |")
    print("|---|---|---|---|---|---|---|")
    for network in NETWORKS:
        found = [row for row in rows if row["network"] == network]
        if found:
            cells = [spoken([row.get(name) for row in found]) for name in FIGURES]
            print(f"| {network} | {len(found)} | {' | '.join(cells)} |")
    if (task, simulations) in PUBLISHED:
        names = ("NPE", "JANA", "APT", "CP-VAE", "UP-VAE")
        pairs = zip(names, PUBLISHED[task, simulations], strict=True)
        print("\nPublished: " + ", ".join(f"{name} {value:.3f}" for name, value in pairs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--simulations", nargs="+", type=int, default=[10_000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--observation", type=int, default=1)
    parser.add_argument("--kept", type=pathlib.Path, default=RESULTS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    versions = (
        f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"PyMC {pm.__version__}, torch {torch.__version__}"
    )
    print(versions)
    lines = asked.kept.read_text().splitlines() if asked.kept.exists() else []
    kept = {tuple(key): row for key, row in map(json.loads, lines)}
    for task in asked.tasks:
        for simulations in asked.simulations:
            for seed in range(1, asked.seeds + 1):
                for network in asked.networks:
                    key = (task, network, simulations, seed, asked.observation)
                    if key in kept:
                        continue
                    kept[key] = run(*key) | {"network": network, "made_by": versions}
                    with asked.kept.open("a") as file:
                        file.write(json.dumps([key, kept[key]]) + "\n")
            rows = [
                row
                for (one, _, number, seed, at), row in kept.items()
                if (one, number, at) == (task, simulations, asked.observation)
                and seed <= asked.seeds
            ]
            print_table(rows, task, simulations)


if __name__ == "__main__":
    main()
