"""Larger models beside NUTS: seconds from a model to its answer, everything included.

    python -m tests.benchmarks.larger [--only NAME ...] [--steps 0]
    OMP_NUM_THREADS=1 python -m tests.benchmarks.larger --densities

Ten models of 5 to 38 parameters. Each is answered in a process of its own, first by
``pma.sample`` without training, or with a network of so many steps, then by nutpie (four chains,
1,000 draws after 1,000 of tuning, indicators summed out by pymc-extras where they are explicit).
Seconds are those of the wall, with reading, training, compilation and sampling. What NUTS is worth
is said by R-hat and ESS; labels of exchangeable components are not put in order for it, and it does
not say so itself. ``--densities``: what a log density and its gradient cost, of 1,024 draws.
"""

import argparse
import json
import logging
import platform
import subprocess
import sys
import time
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import torch

from tests.benchmarks.trust import ORDERED, attributes, mirrored

_GALAXIES = """
9172 9350 9483 9558 9775 10227 10406 16084 16170 18419 18552 18600 18927 19052 19070 19330 19343
19349 19440 19473 19529 19541 19547 19663 19846 19856 19863 19914 19918 19973 19989 20166 20175
20179 20196 20215 20221 20415 20629 20795 20821 20846 20875 20986 21137 21492 21701 21814 21921
21960 22185 22209 22242 22249 22314 22374 22495 22746 22747 22888 22914 23206 23241 23263 23484
23538 23542 23666 23706 23711 24129 24285 24289 24366 24717 24990 25633 26690 26995 32065 32789
34279
"""
"""Velocities in km/s of 82 galaxies; Roeder (1990), JASA 85, 617-624; facts, without a licence."""


def galaxies():
    velocities = np.array(_GALAXIES.split(), dtype=float) / 1_000
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(4))
        mu = pm.Normal("mu", 20, 10, shape=4, transform=ORDERED, initval=[10, 18, 22, 30])
        sigma = pm.HalfNormal("sigma", 3, shape=4)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=velocities)
    return model


def six_normals(num_units=500):
    rng = np.random.default_rng(5)
    z = rng.choice(6, size=num_units, p=[0.1, 0.2, 0.2, 0.2, 0.15, 0.15])
    centres = np.array([-6, -3.5, -1, 1, 3.5, 6])
    y = rng.normal(centres[z], np.array([0.5, 0.9, 0.7, 0.8, 0.6, 1.0])[z])
    with pm.Model() as model:
        w = pm.Dirichlet("w", 2 * np.ones(6))
        mu = pm.Normal("mu", 0, 4, transform=ORDERED, shape=6, initval=np.linspace(-5, 5, 6))
        sigma = pm.HalfNormal("sigma", 1, shape=6)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)
    return model


def latent_classes(num_people=400, num_items=12):
    rng = np.random.default_rng(3)
    theta = rng.uniform(0.1, 0.9, size=(3, num_items))
    z = rng.choice(3, size=num_people, p=[0.5, 0.3, 0.2])
    answers = (rng.random((num_people, num_items)) < theta[z]).astype(int)
    with pm.Model() as model:
        w = pm.Dirichlet("w", 2 * np.ones(3))
        theta = pm.Beta("theta", 2, 2, shape=(3, num_items))
        z = pm.Categorical("z", w, shape=num_people)
        pm.Bernoulli("y", theta[z], observed=answers)
    return model


def correlated_normals(num_units=300):
    rng = np.random.default_rng(8)
    centres = np.array([[-2, 0], [2, 1], [0, -3.0]])
    z = rng.choice(3, size=num_units, p=[0.3, 0.4, 0.3])
    y = centres[z] + rng.normal(size=(num_units, 2)) @ np.array([[1, 0.4], [0, 0.8]])
    with pm.Model() as model:
        w = pm.Dirichlet("w", 2 * np.ones(3))
        parts = []
        for k in range(3):
            mu = pm.Normal(f"mu_{k}", centres[k] / 2, 2, shape=2)
            scales = pm.HalfNormal.dist(1.5)
            chol, _, _ = pm.LKJCholeskyCov(f"chol_{k}", n=2, eta=2, sd_dist=scales)
            parts.append(pm.MvNormal.dist(mu, chol=chol))
        pm.Mixture("y", w=w, comp_dists=parts, observed=y)
    return model


def eight_covariates(num_units=300):
    rng = np.random.default_rng(7)
    x, slopes = rng.normal(size=(num_units, 8)), rng.normal(size=(2, 8))
    first = rng.random(num_units) < 0.4
    mean = np.where(first, 1 + x @ slopes[0], -1 + x @ slopes[1])
    with pm.Model() as model:
        x = pm.Data("x", x)
        w = pm.Dirichlet("w", 2 * np.ones(2))
        a, b = pm.Normal("a", 0, 2, shape=2), pm.Normal("b", 0, 1, shape=(8, 2))
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        y = mean + 0.7 * rng.normal(size=num_units)
        pm.NormalMixture("y", w=w, mu=a + pm.math.dot(x, b), sigma=sigma, observed=y)
    return model


def four_states(num_times=300):
    rng = np.random.default_rng(9)
    z = [0]
    for _ in range(num_times - 1):
        z.append(rng.choice(4, p=0.05 + 0.8 * np.eye(4)[z[-1]]))
    y = rng.normal(np.array([-4, -1, 1.5, 4])[z], 0.8)
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((4, 4)) + 4 * np.eye(4))
        mu = pm.Normal("mu", 0, 4, shape=4, transform=ORDERED, initval=np.linspace(-3, 3, 4))
        sigma = pm.HalfNormal("sigma", 1)
        first = pm.Categorical.dist(np.ones(4) / 4)
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(num_times,))
        pm.Normal("y", mu[z], sigma, observed=y)
    return model


def ten_groups(num_units=40):
    rng = np.random.default_rng(10)
    group = np.repeat(np.arange(10), num_units)
    p = 1 / (1 + np.exp(-rng.normal(0.3, 1, 10)))
    upper = rng.random(len(group)) < p[group]
    y = np.where(upper, rng.normal(1.5, 1, len(group)), rng.normal(-1.5, 0.7, len(group)))
    with pm.Model() as model:
        centre, spread = pm.Normal("centre", 0, 1), pm.HalfNormal("spread", 1)
        p = pm.math.sigmoid(pm.Normal("logit", centre, spread, shape=10))[group]
        mu, sigma = pm.Normal("mu", [-1, 1], 1.0, shape=2), pm.HalfNormal("sigma", 1, shape=2)
        w = pm.math.stack([1 - p, p], axis=-1)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)
    return model


def zero_inflated(num_units=400):
    rng = np.random.default_rng(11)
    x = rng.normal(size=(num_units, 6))
    b, c = 0.3 * rng.normal(size=6), 0.5 * rng.normal(size=6)
    mean, inside = np.exp(1 + x @ b), 1 / (1 + np.exp(-(0.5 + x @ c)))
    y = (rng.random(num_units) < inside) * rng.negative_binomial(2, 2 / (2 + mean))
    with pm.Model() as model:
        x = pm.Data("x", x)
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 0.5, shape=6)
        d, c = pm.Normal("d", 0, 1), pm.Normal("c", 0, 0.5, shape=6)
        pm.ZeroInflatedNegativeBinomial(
            "y",
            psi=pm.math.sigmoid(d + pm.math.dot(x, c)),
            mu=pm.math.exp(a + pm.math.dot(x, b)),
            alpha=pm.Gamma("alpha", 2, 1),
            observed=y,
        )
    return model


def stick_breaking(num_units=200, num_components=10):
    rng = np.random.default_rng(12)
    z = rng.choice(3, size=num_units, p=[0.5, 0.3, 0.2])
    y = rng.normal(np.array([-3, 0, 3.0])[z], 0.7)
    with pm.Model() as model:
        v = pm.Beta("v", 1, 1.0, shape=num_components - 1)
        rest = pm.math.concatenate([[1], pm.math.cumprod(1 - v)])
        w = pm.Deterministic("w", pm.math.concatenate([v, [1]]) * rest)
        mu = pm.Normal("mu", 0, 3, shape=num_components)
        sigma = pm.HalfNormal("sigma", 1, shape=num_components)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)
    return model


MODELS = {
    "two regressions, mirrored": mirrored,
    "galaxies, four ordered normals": galaxies,
    "six ordered normals": six_normals,
    "latent classes": latent_classes,
    "three normals in two dimensions": correlated_normals,
    "regressions, eight covariates": eight_covariates,
    "chain of four states": four_states,
    "weights of ten groups": ten_groups,
    "zero-inflated negative binomial": zero_inflated,
    "stick-breaking, ten": stick_breaking,
}


def answer(name, steps):
    """Return what the package's first answer is, and seconds."""
    import pymc_amortized as pma

    logging.getLogger("pymc_amortized").setLevel(logging.ERROR)
    model = MODELS[name]()
    started = time.perf_counter()
    config = pma.TrainingConfig(steps=steps, tolerance=None)
    with model:
        result = pma.sample(training=config, random_seed=1, progressbar=False, cache=False)
    seconds = time.perf_counter() - started
    facts, start = attributes(result), model.initial_point()
    rungs = [k for k in facts if k.startswith("seconds_") and facts[k] > 0.005]
    return {
        "seconds": seconds,
        "size": sum(start[v.name].size for v in model.continuous_value_vars),
        "answer": f"{facts['checked']}, {facts['rung']}, {facts['confirmed_by']}",
        "parts": ", ".join(f"{k.removeprefix('seconds_')} {facts[k]:.1f}" for k in rungs),
    }


def marginalize(model, discrete):
    """Sum indicators out, which pymc-extras does of models without initial values alone."""
    initial = {v.name: x for v, x in model.rvs_to_initial_values.items()}
    for v in model.free_RVs:
        model.rvs_to_initial_values[v] = None
    marginal = pmx.marginalize(model, discrete)
    for v in marginal.free_RVs:
        marginal.rvs_to_initial_values[v] = initial[v.name]
    return marginal


def nuts(name):
    """Return what nutpie says of its chains, and seconds."""
    import arviz
    import nutpie

    model = MODELS[name]()
    start = time.perf_counter()
    discrete = [v.name for v in model.free_RVs if v.dtype.startswith("int")]
    if discrete:
        model = marginalize(model, discrete)
    compiled = nutpie.compile_pymc_model(model)
    options = {"draws": 1_000, "tune": 1_000, "chains": 4, "cores": 2, "seed": 1}
    trace = nutpie.sample(compiled, progress_bar=False, **options)
    seconds = time.perf_counter() - start
    table = arviz.summary(trace, var_names=[v.name for v in model.free_RVs])
    rhat, ess = (table[c].astype(float) for c in ("r_hat", "ess_bulk"))
    return {"seconds": seconds, "answer": f"R-hat {rhat.max():.2f}, ESS {ess.min():.0f}"}


def density(name, num_draws=1_024, rounds=7):
    """Return what a log density, and one with its gradient, cost: microseconds a draw."""
    import pymc_amortized as pma

    posterior = pma.fit(MODELS[name](), training="none", cache=False, progressbar=False)
    problem = posterior.inference.problem
    frames = problem.read(None).frames
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(num_draws, 1, problem.space.size, generator=generator).double() / 2
    found = []
    for evaluate in (problem.log_target, problem.log_target_with_gradient):
        seconds = []
        for _ in range(rounds):
            started = time.process_time()
            evaluate(scores, frames)
            seconds.append(time.process_time() - started)
        found.append(float(np.median(seconds)) / num_draws * 1e6)
    return found


def in_process(*arguments):
    """Run this file for one model, and return what it prints last."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.larger", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--part", choices=["answer", "nuts"], default=None)
    parser.add_argument("--densities", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.part:
        [name] = arguments.only
        found = answer(name, arguments.steps) if arguments.part == "answer" else nuts(name)
        print(json.dumps(found))
        return
    print(
        f"{platform.machine()}; Python {platform.python_version()}, PyMC {pm.__version__}, torch "
        f"{torch.__version__}\n"
    )
    if arguments.densities:
        print("| model | log density | with gradient |\n|---|---|---|")
        for name in arguments.only:
            print("| {} | {:.0f} | {:.0f} |".format(name, *density(name)), flush=True)
        return
    print("| model | D | seconds | answer, rung, confirmed by | of these | nutpie | its chains |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.only:
        ours = in_process("--part", "answer", "--steps", str(arguments.steps), "--only", name)
        theirs = in_process("--part", "nuts", "--only", name)
        print(
            f"| {name} | {ours['size']} | {ours['seconds']:.1f} | {ours['answer']} | "
            f"{ours['parts']} | {theirs['seconds']:.1f} | {theirs['answer']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
