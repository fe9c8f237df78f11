"""What each rung of the correction accepts, and whether an accepted answer is a right one.

    python -m tests.benchmarks.correction [part ...] [--models MODEL ...] [--references N]

Needs the ``benchmark`` extra (nutpie, scikit-learn). Networks are kept in the package's cache, so
that a second run does not train. Parts:

rungs     200 fresh data sets of five models: the share accepted at each rung, seconds per rung,
          and, on as many of them as ``--references``, C2ST and differences of means against long
          runs of nutpie on the marginal likelihood; and C2ST of two such runs, for what a
          classifier makes of NUTS itself.
bad       a network of 10 training steps, and data 6 prior standard deviations away.
evidence  log p(y) where it is known, and of a mixture against sequential Monte Carlo.
speed     1,000 data sets at once against nutpie, one after the other (40 of them).
memory    the peak of 1,000 data sets with 4,000 draws each.
modes     two separate modes whose weights are known.
"""

import argparse
import contextlib
import math
import platform
import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import torch

import pymc_amortized as pma

from pymc_amortized.diagnostics import c2st
from tests.benchmarks.mixture import MODELS, build, flat, nuts, unconstrained

NUM_FRESH = 200
NUM_DRAWS = 4_000
NUM_MANY = 1_000
NUM_FLOORS = 5
RUNGS = ("importance", "adaptive", "smc", "mcmc")


def explicit(marginal=False):
    x = np.linspace(-1, 1, 100)
    with pm.Model() as model:
        y = pm.Data("data", np.ones(100))
        p = pm.Beta("p", 2, 2)
        slope = pm.Normal("slope", [-2, 2], 1)
        sigma = pm.HalfNormal("sigma", 0.5)
        if marginal:
            means = slope * x[:, None]
            pm.NormalMixture("y", w=pt.stack([1 - p, p]), mu=means, sigma=sigma, observed=y)
        else:
            z = pm.Bernoulli("z", p, shape=100)
            pm.Normal("y", slope[z] * x, sigma, observed=y)
    return model


NAMES = ("gmm2", "gmm3", "regressions", "poisson", "explicit")


def model_of(name, marginal=False):
    return explicit(marginal) if name == "explicit" else build(name)


def fitted(name, model=None):
    start = time.perf_counter()
    posterior = pma.fit(model or model_of(name), random_seed=1, progressbar=False)
    seconds = time.perf_counter() - start
    print(f"{name}: network after {seconds:.0f} s (trained in {posterior.record.seconds:.0f} s)")
    return posterior


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def fresh(posterior, number, seed):
    return posterior.inference.problem.simulator.sample(number, seed).observations["y"].numpy()


def many(posterior, ys, **options):
    with quiet():
        return posterior.sample_many({"y": ys}, progressbar=False, random_seed=1, **options)


def column(idata, name):
    return np.asarray(idata.answers[name])


def rungs(names, num_references):
    for name in names:
        posterior = fitted(name)
        ys = fresh(posterior, NUM_FRESH, 177)
        parameters = list(posterior.inference.problem.space.names)
        first = many(posterior, ys, correction="importance", var_names=parameters, draws=100)
        by_network = column(first, "network_pareto_k") < 0.7
        at_once = column(first, "checked") == "accepted"
        second = many(posterior, ys, correction="adaptive", var_names=parameters)
        by_second = column(second, "checked") == "accepted"
        start = time.perf_counter()
        idata = many(posterior, ys, var_names=parameters)
        seconds = (time.perf_counter() - start) / len(ys)
        rung, accepted = column(idata, "rung"), column(idata, "checked") == "accepted"
        print(
            f"  Pareto k of the network < 0.7: {by_network.mean():.1%}; accepted by rung 1 "
            f"{at_once.mean():.1%}, by rung 2 {(at_once | by_second).mean():.1%}, by auto "
            f"{accepted.mean():.1%} ({seconds:.2f} s per data set)"
        )
        for kind in RUNGS:
            chosen = rung == kind
            spent = column(idata, f"seconds_{kind}")
            spent = spent[spent > 0]
            print(
                f"    {kind}: the last rung of {chosen.mean():.1%}, accepted there "
                f"{accepted[chosen].mean() if chosen.any() else math.nan:.1%}; median "
                f"{np.median(spent) if len(spent) else math.nan:.2f} s; median ESS "
                f"{np.median(column(idata, 'importance_ess')[chosen]) if chosen.any() else 0:.0f}",
                flush=True,
            )
        if num_references:
            compare(name, posterior, ys, rung, num_references)


def compare(name, posterior, ys, rung, number):
    """Compare with nutpie, on data sets of every rung where its chains agree."""
    import nutpie

    with quiet():
        compiled = nutpie.compile_pymc_model(model_of(name, marginal=True))
    rng = np.random.default_rng(5)
    rows, floors = [], []
    # Those of the highest rungs first, as far as they go, since they are few.
    order = np.lexsort((np.arange(len(ys)), -np.isin(rung, RUNGS[2:]).astype(int)))
    tried = 0
    for i in order[: 3 * number]:
        if len(rows) == number:
            break
        tried += 1
        y = ys[i].astype(MODELS[name][2]) if name in MODELS else ys[i]
        reference, _ = nuts(compiled, y, int(i) + 1)
        if reference is None:
            continue
        some = next(iter(reference.values()))
        pick = rng.choice(len(some), NUM_DRAWS, replace=False)
        target = unconstrained(posterior, {k: v[pick] for k, v in reference.items()})
        whole = unconstrained(posterior, reference)
        with quiet():
            idata = posterior.sample({"y": y}, random_seed=int(i))
        attrs = idata.posterior.attrs
        if attrs["checked"] != "accepted":
            continue
        draws = unconstrained(posterior, flat(idata))
        apart = np.abs(draws.mean(0) - whole.mean(0)) / whole.std(0)
        rows.append((attrs["rung"], c2st(target, draws, seed=int(i)), apart.tolist()))
        print(
            f"    {rows[-1][0]}: C2ST {rows[-1][1]:.3f}, largest difference of means "
            f"{apart.max():.3f} sd, ESS {attrs['importance_ess']:.0f}",
            flush=True,
        )
        if len(floors) < NUM_FLOORS:
            again, _ = nuts(compiled, y, int(i) + 100_001)
            if again is not None:
                other = unconstrained(posterior, {k: v[pick] for k, v in again.items()})
                floors.append(c2st(target, other, seed=int(i)))
                print(f"      NUTS against another run of NUTS: {floors[-1]:.3f}", flush=True)
    print(f"  NUTS against itself: mean C2ST {np.mean(floors):.3f} on {len(floors)}")
    for kind in RUNGS:
        found = [row[1] for row in rows if row[0] == kind]
        if found:
            print(f"  {kind}: mean C2ST {np.mean(found):.3f} on {len(found)}")
    apart = np.concatenate([row[2] for row in rows])
    print(
        f"  99th percentile of |mean - NUTS mean|: {np.quantile(apart, 0.99):.3f} sd "
        f"({len(rows)} data sets, {len(apart)} parameters; NUTS agreed with itself on "
        f"{len(rows)} of {tried})",
        flush=True,
    )


def bad(*_):
    config = pma.TrainingConfig(steps=10, tolerance=None)
    posterior = pma.fit(model_of("gmm2"), training=config, random_seed=1, progressbar=False)
    good = fitted("gmm2")
    ys = fresh(posterior, 5, 78)
    for i, y in enumerate(ys):
        with quiet():
            ours, theirs = (p.sample({"y": y}, random_seed=i) for p in (posterior, good))
            chains = posterior.sample({"y": y}, correction="mcmc", random_seed=i)
        attrs = ours.posterior.attrs
        reference = unconstrained(good, flat(theirs))
        apart = [
            np.abs(unconstrained(good, flat(x)).mean(0) - reference.mean(0)) / reference.std(0)
            for x in (ours, chains)
        ]
        print(
            f"10 steps: {attrs['rung']}, {attrs['checked']}, network k "
            f"{attrs['network_pareto_k']:.2f}; means differ from those of the trained network by "
            f"at most {apart[0].max():.3f} sd, by rung 3 {apart[1].max():.3f} sd "
            f"(R-hat {chains.posterior.attrs['rhat']:.3f})",
            flush=True,
        )
    far_away()


def far_away():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=np.zeros(50))
    posterior = pma.fit(model, random_seed=1, progressbar=False, training="fast")
    y = np.random.default_rng(1).normal(6, 1, 50)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        idata = posterior.sample({"y": y}, random_seed=1)
    names = sorted({w.category.__name__ for w in caught})
    mean, sd = y.sum() / 51, math.sqrt(1 / 51)
    draws = np.asarray(idata.posterior["mu"]).ravel()
    attrs = idata.posterior.attrs
    print(
        f"6 sd away: {names}; {attrs['rung']}, {attrs['checked']}; mean off by "
        f"{abs(draws.mean() - mean) / sd:.3f} sd, sd {draws.std() / sd:.3f} of the exact one"
    )


def evidence(*_):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.Normal("y", mu, 1, observed=np.zeros(40))
    posterior = pma.fit(model, random_seed=1, progressbar=False, training="fast")
    for i, y in enumerate(fresh(posterior, 3, 3)):
        covariance = np.eye(40) + 4.0
        exact = -0.5 * (
            y @ np.linalg.solve(covariance, y)
            + np.linalg.slogdet(covariance)[1]
            + 40 * math.log(2 * math.pi)
        )
        attrs = posterior.sample({"y": y}, random_seed=i).posterior.attrs
        print(
            f"conjugate: log evidence {attrs['log_evidence']:.3f} +- "
            f"{attrs['log_evidence_error']:.3f}, exact {exact:.3f}"
        )
    posterior = fitted("gmm2")
    for i, y in enumerate(fresh(posterior, 3, 80)):
        with quiet():
            attrs = posterior.sample({"y": y}, random_seed=i).posterior.attrs
        print(
            f"two normals: log evidence {attrs['log_evidence']:.3f} +- "
            f"{attrs['log_evidence_error']:.3f}, sequential Monte Carlo "
            f"{sequential_monte_carlo(y, i)}",
            flush=True,
        )


def sequential_monte_carlo(y, seed):
    """Say what log p(y) is without the order; the same as with it, where the prior is normalized.

    By each of two runs, whose difference tells how far to believe them.
    """
    with quiet(), pm.Model():
        w = pm.Dirichlet("w", 2 * np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        sigma = pm.HalfNormal("sigma", 1, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)
        trace = pm.sample_smc(
            20_000,
            chains=2,
            cores=1,
            random_seed=seed,
            progressbar=False,
            correlation_threshold=0.002,
        )
    values = np.asarray(trace.sample_stats["log_marginal_likelihood"]).tolist()
    last = [[v for v in np.ravel(chain) if v is not None and v == v][-1] for chain in values]
    return " and ".join(f"{value:.3f}" for value in last)


def speed(names, *_):
    for name in names:
        compare_speed(name)


def compare_speed(name):
    import nutpie

    posterior = fitted(name)
    ys = fresh(posterior, NUM_MANY, 90)
    start = time.perf_counter()
    idata = many(posterior, ys)
    ours = (time.perf_counter() - start) / len(ys)
    accepted = (column(idata, "checked") == "accepted").mean()
    start = time.perf_counter()
    with quiet():
        compiled = nutpie.compile_pymc_model(model_of(name, marginal=True))
    compile_time = time.perf_counter() - start
    seconds = []
    for i, y in enumerate(ys[:40]):
        start = time.perf_counter()
        with quiet():
            nutpie.sample(
                compiled.with_data(data=y.astype(MODELS[name][2]) if name in MODELS else y),
                draws=1000,
                tune=1000,
                chains=4,
                cores=2,
                seed=i + 1,
                progress_bar=False,
            )
        seconds.append(time.perf_counter() - start)
    theirs = np.mean(seconds) + compile_time / NUM_MANY
    kinds, counts = np.unique(column(idata, "rung"), return_counts=True)
    print(
        f"  {NUM_MANY:,} data sets, 4,000 draws each: {1 / ours:.1f} per second ({ours:.3f} s "
        f"each, {accepted:.1%} accepted, indicators included); nutpie {1 / theirs:.2f} per second "
        f"({theirs:.2f} s each, compile {compile_time:.0f} s once, without indicators); ratio "
        f"{theirs / ours:.1f}; rungs {dict(zip(kinds, counts.tolist(), strict=True))}",
        flush=True,
    )


def memory(*_):
    fitted("gmm2")
    code = "from tests.benchmarks import correction; correction.peak()"
    subprocess.run([sys.executable, "-c", code], check=True)


def peak():
    posterior = fitted("gmm2")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    idata = many(posterior, fresh(posterior, NUM_MANY, 91))
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sizes = dict(idata.posterior.sizes)
    print(f"{sizes}: peak {after:.2f} GB ({before:.2f} before), {seconds:.0f} s")


def modes(*_):
    """The posterior of theta is two modes at about +-2: odds are the prior's, exp(2 * 0.3 * 2)."""
    with pm.Model() as model:
        theta = pm.Normal("theta", 0.3, 1.5)
        scale = pm.HalfNormal("scale", 1)
        pm.Normal("y", pt.abs(theta), scale, observed=np.zeros(40))
    y = np.random.default_rng(2).normal(2, 0.7, 40)
    grid = np.linspace(-8, 8, 4001)
    scales = np.linspace(0.3, 2.5, 400)
    log_p = (
        -0.5 * ((grid - 0.3) / 1.5) ** 2
        - 0.5 * scales[:, None] ** 2
        - 40 * np.log(scales[:, None])
        - 0.5 * (((y**2).sum() - 2 * np.abs(grid) * y.sum() + 40 * grid**2) / scales[:, None] ** 2)
    )
    p = np.exp(log_p - log_p.max()).sum(0)
    exact = p[grid > 0].sum() / p.sum()
    for steps in (50, 300, 2000):
        config = pma.TrainingConfig(steps=steps, tolerance=None)
        posterior = pma.fit(model, training=config, random_seed=1, progressbar=False)
        found = []
        for correction in ("none", "adaptive"):
            with quiet():
                idata = posterior.sample({"y": y}, correction=correction, random_seed=1)
            found.append(float((np.asarray(idata.posterior["theta"]) > 0).mean()))
        attrs = idata.posterior.attrs
        print(
            f"{steps} steps: weight of the upper mode {exact:.3f}, network {found[0]:.3f}, rung 2 "
            f"{found[1]:.3f} ({attrs['checked']}, k {attrs['pareto_k']:.2f})",
            flush=True,
        )


PARTS = {
    "rungs": rungs,
    "bad": bad,
    "evidence": evidence,
    "speed": speed,
    "memory": memory,
    "modes": modes,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--models", nargs="*", default=list(NAMES))
    parser.add_argument("--references", type=int, default=20)
    arguments = parser.parse_args()
    print(
        f"Python {platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for part in arguments.parts or list(PARTS):
        PARTS[part](arguments.models, arguments.references)


if __name__ == "__main__":
    main()
