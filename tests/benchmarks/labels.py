"""Label switching: indicators for any posterior, and comparable labels.

    python -m tests.benchmarks.labels [part ...]

Parts:

permuted    4,000 draws with labels permuted at random: what share comes back, by method.
indicators  Indicators for NUTS: a marginal mixture against the conditional by hand; an explicit
            indicator and a chain against pymc-extras' ``recover_marginals``.
memory      Indicators of 4,000 draws x 10,000 units x 4 components: seconds, and peak memory.
canonical   Unordered mixtures and a symmetric hidden Markov model against NUTS: in one labelling,
            and in all of them. Needs scikit-learn and nutpie.
speed       Relabelling of 4,000 draws x 1,000 units x 5 components: seconds, by method.
pictures    Pictures of ``docs/labels.md``: the same data four ways (``--output``).
"""

import argparse
import pathlib
import platform
import resource
import subprocess
import sys
import time
import warnings

from typing import get_args

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import torch
import xarray

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.compat import result_of_groups
from pymc_amortized.labels.relabel import RelabelMethod
from tests.benchmarks.canonical import canonical

METHODS = [name for name in get_args(RelabelMethod) if name != "auto"]


def mixture(y, num_components):
    coords = {"component": range(num_components), "unit": range(len(y))}
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", np.full(num_components, 2.0), dims="component")
        mu = pm.Normal("mu", 0, 10, dims="component")
        sigma = pm.HalfNormal("sigma", 2, dims="component")
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y, dims="unit")
    return model


def drawn_by_hand(num_components, num_units, gap, num_draws=1_000, chains=4, seed=0):
    """A model, and draws as its posterior has them, with the permutation that each was given."""
    rng = np.random.default_rng(seed)
    y = gap * rng.integers(num_components, size=num_units) + rng.normal(size=num_units)
    shape = (chains, num_draws, num_components)
    w = rng.dirichlet(np.full(num_components, num_units / num_components), shape[:2])
    mu = gap * np.arange(num_components) + rng.normal(0, num_units**-0.5, shape)
    sigma = np.exp(rng.normal(0, num_units**-0.5, shape))
    order = rng.random(shape).argsort(axis=-1)
    arrays = {
        name: (("chain", "draw", "component"), np.take_along_axis(x, order, axis=-1))
        for name, x in {"w": w, "mu": mu, "sigma": sigma}.items()
    }
    lp = -np.square(mu - gap * np.arange(num_components)).sum(-1)
    groups = {
        "posterior": xarray.Dataset(arrays),
        "sample_stats": xarray.Dataset({"lp": (("chain", "draw"), lp)}),
        "observed_data": xarray.Dataset({"y": ("unit", y)}),
    }
    return mixture(y, num_components), result_of_groups(groups), order


def options_of(method, model):
    if method == "ordering":
        return {"by": "mu"}
    return {"model": model} if method in ("stephens", "ecr_iterative_2") else {}


def permuted():
    """Share of draws that come back, up to one permutation of all of them."""
    for num_components in (2, 3, 5):
        model, idata, order = drawn_by_hand(num_components, 500, 6.0)
        idata = pma.add_indicators(idata, model, random_seed=1)
        shares = {}
        for method in METHODS:
            found = pma.relabel(idata, method, **options_of(method, model))
            new = found["sample_stats"]["label_permutation"].to_numpy()
            composed = np.take_along_axis(order, new, axis=-1).reshape(-1, num_components)
            _, counts = np.unique(composed, axis=0, return_counts=True)
            shares[method] = counts.max() / len(composed)
        print(f"K = {num_components}: " + ", ".join(f"{m} {s:.4f}" for m, s in shares.items()))


def nuts(model, **options):
    with warnings.catch_warnings(), model:
        warnings.simplefilter("ignore")
        options = {"draws": 1_000, "chains": 2, "cores": 2, "progressbar": False, **options}
        return pm.sample(random_seed=1, **options)


def indicators():
    """Against answers that are known otherwise."""
    rng = np.random.default_rng(3)
    y = np.concatenate([rng.normal(-2, 1, 60), rng.normal(1.5, 0.7, 90)])
    model = mixture(y, 2)
    idata = nuts(model)
    found = pma.add_indicators(idata, model, random_seed=1)
    w, mu, sigma = (idata["posterior"][n].to_numpy()[:, :, None] for n in ("w", "mu", "sigma"))
    joint = w * stats.norm.pdf(y[:, None], mu, sigma)
    exact = (joint / joint.sum(-1, keepdims=True)).mean((0, 1))
    gap = np.abs(found["indicator_probabilities"]["y_component"].to_numpy() - exact).max()
    print(f"marginal mixture after NUTS: largest difference {gap:.1e}")
    for name, model in {"explicit": explicit(y), "chain": chain(rng)}.items():
        marginal = pmx.marginalize(model, ["z"])
        idata = nuts(marginal)
        found = pma.add_indicators(idata, model, random_seed=1)
        try:
            with marginal, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = pmx.recover_marginals(idata, random_seed=2)
        except NotImplementedError:
            print(f"{name}: this pymc-extras cannot recover it")
            continue
        print(f"{name}: {difference(found['posterior']['z'], theirs['posterior']['z'])}")


def difference(ours, theirs):
    """Compare shares of states by unit, and numbers of units in state 1 and of switches."""
    ours, theirs = (x.to_numpy().reshape(-1, x.shape[-1]) for x in (ours, theirs))
    share = np.abs(ours.mean(0) - theirs.mean(0))
    error = np.sqrt(ours.var(0) + theirs.var(0)) / np.sqrt(len(ours))
    worst = np.max(share / np.maximum(error, 1e-3))
    size = stats.ks_2samp(ours.sum(1), theirs.sum(1)).pvalue
    switches = stats.ks_2samp(*((np.diff(x) != 0).sum(1) for x in (ours, theirs))).pvalue
    return (
        f"shares of units differ by at most {worst:.1f} standard errors of {ours.shape[1]}; "
        f"p = {size:.2f} for units in state 1, {switches:.2f} for switches"
    )


def explicit(y):
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        mu = pm.Normal("mu", [-2, 2], 1, shape=2)
        z = pm.Bernoulli("z", p, shape=len(y))
        pm.Normal("y", mu[z], 1, observed=y)
    return model


def chain(rng, num_times=100):
    z = [0]
    for _ in range(num_times - 1):
        z.append(int(rng.random() < (0.1, 0.7)[z[-1]]))
    y = rng.normal(2.0 * np.array(z), 1)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        stay = pm.Beta("stay", 8, 2)
        P = pt.stack([pt.stack([stay, 1 - stay]), pt.constant([0.3, 0.7])])
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(num_times,))
        pm.Normal("y", mu + 2 * z, 1, observed=y)
    return model


def memory():
    """In a process of its own, whose peak is that of this alone."""
    code = "from tests.benchmarks import labels; labels.peak()"
    subprocess.run([sys.executable, "-c", code], check=True)


def peak():
    """Indicators of 4,000 draws x 10,000 units x 4 components."""
    model, idata, _ = drawn_by_hand(4, 10_000, 3.0)
    started = time.perf_counter()
    pma.add_indicators(idata, model, random_seed=1)
    seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"4,000 draws x 10,000 units x 4 components: {seconds:.1f} s, {most:.2f} GB at most")


def speed():
    """Relabel 4,000 draws x 1,000 units x 5 components."""
    model, idata, _ = drawn_by_hand(5, 1_000, 2.5)
    idata = pma.add_indicators(idata, model, random_seed=1)
    for method in METHODS:
        started = time.perf_counter()
        pma.relabel(idata, method, **options_of(method, model))
        print(f"{method}: {time.perf_counter() - started:.1f} s")


def three_groups(order):
    """120 values from three components, and a model of them; ``order`` says what orders means."""
    rng = np.random.default_rng(7)
    y = np.concatenate(
        [rng.normal(m, s, n) for m, s, n in ((-3, 0.6, 40), (0, 0.6, 30), (3, 1, 50))]
    )
    with pm.Model(coords={"component": range(3), "unit": range(len(y))}) as model:
        w = pm.Dirichlet("w", np.full(3, 2.0), dims="component")
        if order == "transform":
            options = {"transform": pm.distributions.transforms.ordered, "initval": [-1, 0, 1]}
            mu = pm.Normal("mu", 0, 5, dims="component", **options)
        elif order == "sort":
            raw = pm.Normal("mu_raw", 0, 5, dims="component")
            mu = pm.Deterministic("mu", pt.sort(raw), dims="component")
        else:
            mu = pm.Normal("mu", 0, 5, dims="component")
        sigma = pm.HalfNormal("sigma", 1, dims="component")
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y, dims="unit")
    return model


def pictures(output):
    """Traces, and pairs of means: unordered, relabelled, ordered, sorted."""
    import matplotlib

    matplotlib.use("Agg")
    import arviz as az
    import matplotlib.pyplot as plt

    model = three_groups(None)
    unordered = nuts(model, chains=4)
    print(pma.detect_label_switching(unordered))
    results = {
        "as it is": unordered,
        "relabelled": pma.relabel(unordered, model=model, by="mu"),
        "ordered transform": nuts(three_groups("transform"), chains=4),
        "sorted in the model": nuts(three_groups("sort"), chains=4),
    }
    _, axes = plt.subplots(4, 2, figsize=(10, 9))
    for row, (name, idata) in zip(axes, results.items(), strict=True):
        az.plot_trace(idata, var_names=["mu"], axes=row[None])
        row[0].set(title=f"{name}: density of mu")
        row[1].set(title="trace")
    plt.tight_layout()
    plt.savefig(output / "labels_trace.png", dpi=80)
    _, axes = plt.subplots(1, 4, figsize=(13, 3.4))
    for panel, (name, idata) in zip(axes, results.items(), strict=True):
        az.plot_pair(
            idata,
            var_names=["mu"],
            coords={"component": [0, 1]},
            ax=panel,
            divergences=False,
            scatter_kwargs={"alpha": 0.2},
        )
        panel.set(title=name)
    plt.tight_layout()
    plt.savefig(output / "labels_pair.png", dpi=80)


PARTS = {
    "permuted": permuted,
    "indicators": indicators,
    "memory": memory,
    "speed": speed,
    "canonical": canonical,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "pictures", []], default=[])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/images"))
    args = parser.parse_args()
    print(
        f"Python {platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for part in args.parts or PARTS:
        if part == "pictures":
            pictures(args.output)
        else:
            PARTS[part]()


if __name__ == "__main__":
    main()
