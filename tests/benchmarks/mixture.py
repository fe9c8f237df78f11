"""Answers for independent mixtures against long NUTS runs: accuracy, time, and what was accepted.

    python -m tests.benchmarks.mixture [model ...] [--training PRESET] [--no-nuts]

Needs the ``benchmark`` extra (nutpie, scikit-learn). For each model: the time of training; the
share of fresh data sets with Pareto k below 0.7; the classification network's cross-entropy against
the exact conditional at the true parameters; and for ten simulated data sets the C2ST of draws
against nutpie on the marginal likelihood, from the network alone and after importance sampling,
with the RMSE of membership probabilities.
"""

import argparse
import platform
import time
import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import torch

import pymc_amortized as pma

from pymc_amortized.data.frames import Frames
from pymc_amortized.diagnostics import c2st
from pymc_amortized.importance.weights import pareto_smooth

ORDERED = pm.distributions.transforms.ordered
NUM_DATASETS = 10
NUM_FRESH = 200
NUM_DRAWS = 4_000


def gmm(num_components):
    def model(y):
        w = pm.Dirichlet("w", 2 * np.ones(num_components))
        mu = pm.Normal(
            "mu",
            0,
            3,
            shape=num_components,
            transform=ORDERED,
            initval=np.linspace(-2, 2, num_components),
        )
        sigma = pm.HalfNormal("sigma", 1, shape=num_components)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y)

    return model, 100, float


def regressions():
    x = np.linspace(-1, 1, 100)

    def model(y):
        w = pm.Dirichlet("w", 2 * np.ones(2))
        intercept = pm.Normal("intercept", 0, 2, shape=2)
        slope = pm.Normal("slope", 0, 2, shape=2, transform=ORDERED, initval=[-1.0, 1.0])
        sigma = pm.HalfNormal("sigma", 0.5)
        mean = intercept + slope * x[:, None]
        pm.NormalMixture("y", w=w, mu=mean, sigma=sigma, observed=y)

    return model, 100, float


def poisson():
    def model(y):
        w = pm.Dirichlet("w", 2 * np.ones(2))
        rate = pm.Gamma(
            "rate",
            2,
            0.2,
            shape=2,
            transform=pm.distributions.transforms.Chain([pm.distributions.transforms.log, ORDERED]),
            default_transform=None,
            initval=[4.0, 15.0],
        )
        pm.Mixture("y", w=w, comp_dists=pm.Poisson.dist(rate), observed=y)

    return model, 100, int


def unlike():
    def model(y):
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", 0, 1)
        sigma = pm.HalfNormal("sigma", 1)
        scale = pm.Gamma("scale", 4, 1)
        components = [pm.Normal.dist(mu, sigma), pm.Exponential.dist(scale=scale)]
        pm.Mixture("y", w=pt.stack([w, 1 - w]), comp_dists=components, observed=y)

    return model, 100, float


MODELS = {
    "gmm2": gmm(2),
    "gmm3": gmm(3),
    "regressions": regressions(),
    "poisson": poisson(),
    "unlike": unlike(),
}


def build(name):
    define, size, dtype = MODELS[name]
    with pm.Model() as model:
        define(pm.Data("data", np.ones(size, dtype=dtype)))
    return model


def fresh_datasets(posterior, number, seed):
    return posterior.inference.problem.simulator.sample(number, seed).observations["y"].numpy()


def accepted_share(posterior):
    start = time.perf_counter()
    simulation = posterior.inference.problem.simulator.sample(NUM_FRESH, 77).observations["y"]
    inference = posterior.inference
    shares = []
    for y in simulation.numpy():
        dataset = inference.read({"y": y})
        generator = torch.Generator().manual_seed(1)
        scores, log_q = inference.draw_scores(
            inference.context(dataset.smooth), NUM_DRAWS, generator
        )
        weights = inference.problem.log_target(scores, dataset.frames) - log_q
        shares.append(float(pareto_smooth(weights)[1]) < 0.7)
    return np.mean(shares), (time.perf_counter() - start) / NUM_FRESH


@torch.no_grad()
def cross_entropies(posterior, number=2_000):
    """Return nats per unit of the network and of the exact conditional, at the true parameters."""
    inference = posterior.inference
    simulation = inference.problem.simulator.sample(number, 78)
    frames = Frames(
        {name: x.unsqueeze(1) for name, x in simulation.observations.items()},
        {},
        (torch.ones(number, 1, inference.problem.layout.tables[0].num_rows, dtype=torch.bool),),
    )
    units = inference.units(frames)
    space = inference.problem.space
    features = space.features(space.unconstrain(simulation.parameters), simulation.parameters)
    network = inference.estimator.classify(0, units[0], features)[:, :, 0]
    z = simulation.indicators["y_component"].unsqueeze(-1)
    parameters = {name: x.unsqueeze(0) for name, x in simulation.parameters.items()}
    exact = inference.problem.exact.log_units("y_component", parameters, frames)[
        0, :, 0
    ].log_softmax(-1)
    return tuple(-float(table.gather(-1, z).mean()) for table in (network, exact))


def nuts(compiled, y, seed):
    """Return draws by name, (S, *shape), or None where chains disagree; and the seconds taken.

    Twelve chains, for with six of them it has happened that all were in the same one of two modes.
    """
    import arviz as az
    import nutpie

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = nutpie.sample(
            compiled.with_data(data=y),
            draws=1_000,
            tune=1_500,
            chains=12,
            cores=2,
            target_accept=0.95,
            seed=seed,
            progress_bar=False,
        )
        rhat = az.rhat(trace)
    worst = (
        max(float(np.max(rhat[name])) for name in rhat.data_vars)
        if hasattr(rhat, "data_vars")
        else max(float(np.max(rhat.dataset[n])) for n in rhat.dataset.data_vars)
    )
    seconds = time.perf_counter() - start
    posterior = trace.posterior
    draws = {
        name: np.asarray(posterior[name]).reshape(-1, *posterior[name].shape[2:])
        for name in posterior.data_vars
    }
    return (draws if worst < 1.01 else None), seconds


def unconstrained(posterior, draws):
    tensors = {
        name: torch.as_tensor(np.asarray(draws[name], dtype=float))
        for name in posterior.inference.problem.space.names
    }
    return posterior.inference.problem.space.unconstrain(tensors).numpy()


def memberships(posterior, draws, y):
    inference = posterior.inference
    dataset = inference.read({"y": y})
    parameters = {
        name: torch.as_tensor(np.asarray(draws[name], dtype=float)).unsqueeze(1)
        for name in inference.problem.space.names
    }
    joint = inference.problem.exact.log_units("y_component", parameters, dataset.frames)[:, 0, 0]
    return joint.softmax(-1).mean(0).numpy()


def flat(idata):
    return {name: np.asarray(x).reshape(-1, *x.shape[2:]) for name, x in idata.posterior.items()}


def compare(name, posterior, model):
    import nutpie

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = nutpie.compile_pymc_model(model)
    compile_time = time.perf_counter() - start
    rng = np.random.default_rng(5)
    rows = []
    for i, y in enumerate(fresh_datasets(posterior, NUM_DATASETS, 79)):
        y = y.astype(MODELS[name][2])
        reference, nuts_seconds = nuts(compiled, y, i + 1)
        if reference is None:
            rows.append({"converged": False, "nuts": nuts_seconds})
            continue
        pick = rng.choice(len(reference["w"]), NUM_DRAWS, replace=False)
        reference = {k: v[pick] for k, v in reference.items()}
        target = unconstrained(posterior, reference)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = posterior.sample({"y": y}, correction="none", random_seed=i)
            start = time.perf_counter()
            weighted = posterior.sample({"y": y}, random_seed=i)
            seconds = time.perf_counter() - start
        truth = memberships(posterior, reference, y)
        found = np.asarray(weighted.indicator_probabilities["y_component"])
        rows.append(
            {
                "converged": True,
                "nuts": nuts_seconds,
                "seconds": seconds,
                "network": c2st(target, unconstrained(posterior, flat(raw)), seed=i),
                "weighted": c2st(target, unconstrained(posterior, flat(weighted)), seed=i),
                "accepted": weighted.posterior.attrs["checked"] == "accepted",
                "pareto_k": weighted.posterior.attrs["pareto_k"],
                "rmse": float(np.sqrt(np.mean((found - truth) ** 2))),
            }
        )
        print(
            "   ",
            {k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()},
            flush=True,
        )
    used = [row for row in rows if row["converged"]]
    accepted = [row for row in used if row["accepted"]]
    print(
        f"  NUTS converged on {len(used)} of {len(rows)}; compile {compile_time:.1f} s, then "
        f"{np.median([row['nuts'] for row in rows]):.1f} s per data set; amortized "
        f"{np.median([row['seconds'] for row in used]):.2f} s per data set"
    )
    print(
        f"  C2ST: network {np.mean([r['network'] for r in used]):.3f}; accepted "
        f"{len(accepted)} of {len(used)}, of these after importance "
        f"{np.mean([r['weighted'] for r in accepted]):.3f}; membership RMSE "
        f"{np.mean([r['rmse'] for r in accepted]):.4f} (largest "
        f"{max(r['rmse'] for r in accepted):.4f})",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--training", choices=["fast", "default", "thorough"], default="default")
    parser.add_argument("--no-nuts", action="store_true")
    arguments = parser.parse_args()
    print(
        f"Python {platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for name in arguments.models or list(MODELS):
        model = build(name)
        start = time.perf_counter()
        posterior = pma.fit(
            model, training=arguments.training, random_seed=1, cache=False, progressbar=False
        )
        seconds = time.perf_counter() - start
        share, each = accepted_share(posterior)
        network, exact = cross_entropies(posterior)
        print(
            f"{name}: trained {posterior.record.steps} steps in {seconds:.0f} s; k < 0.7 for "
            f"{share:.0%} of {NUM_FRESH} data sets ({each:.2f} s each); cross-entropy "
            f"{network:.4f}, exact {exact:.4f}, difference {network - exact:.4f} nats per unit",
            flush=True,
        )
        if not arguments.no_nuts:
            compare(name, posterior, model)


if __name__ == "__main__":
    main()
