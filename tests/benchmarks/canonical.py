"""Symmetric models in one labelling, against relabelled NUTS: a part of ``labels``."""

import math
import time
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import torch

from scipy.special import logsumexp

import pymc_amortized as pma

from pymc_amortized.diagnostics import c2st
from tests.two_sample import smallest_p_value

NUM_DRAWS = 2_000
MEANS = {2: [-1.2, 1.2], 3: [-3.0, 0.0, 2.5]}


def mixture(num_components, rng, num_units=150):
    """An unordered mixture, and data whose components overlap."""
    z = rng.choice(num_components, num_units)
    y = rng.normal(np.array(MEANS[num_components])[z], 1.0)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=num_components)
        sigma = pm.HalfNormal("sigma", 2, shape=num_components)
        w = pm.Dirichlet("w", np.ones(num_components))
        pm.NormalMixture("y", w, mu, sigma=sigma, observed=y)
    return model, model


def chain(num_states, rng, num_times=150):
    """A symmetric hidden Markov model, and the same with its states summed out."""
    z = [0]
    for _ in range(num_times - 1):
        z.append(z[-1] if rng.random() < 0.8 else int(rng.integers(num_states)))
    y = rng.normal(np.array(MEANS[num_states])[z], 1.0)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=num_states)
        sigma = pm.HalfNormal("sigma", 2, shape=num_states)
        P = pm.Dirichlet("P", np.ones((num_states, num_states)))
        first = pm.Categorical.dist(np.full(num_states, 1 / num_states))
        states = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(num_times,))
        pm.Normal("y", mu[states], sigma[states], observed=y)
    return model, pmx.marginalize(model, ["z"])


CASES = {
    "mixture, K = 2": (mixture, 2),
    "mixture, K = 3": (mixture, 3),
    "hidden Markov model, K = 3": (chain, 3),
}


def parameters_of(posterior, model):
    """Draws of the parameters by name, (S, *shape)."""
    names = [v.name for v in model.free_RVs if v.dtype.startswith("float")]
    arrays = {name: np.asarray(posterior[name]) for name in names}
    return {name: x.reshape(-1, *x.shape[2:]) for name, x in arrays.items()}


def permuted(draws, order):
    """Every axis of components, permuted by order (S, K)."""
    num_labels = order.shape[1]
    moved = {}
    for name, x in draws.items():
        for axis in range(1, x.ndim):
            if x.shape[axis] == num_labels:
                index = order.reshape(
                    -1, *(num_labels if a == axis else 1 for a in range(1, x.ndim))
                )
                x = np.take_along_axis(x, index, axis)
        moved[name] = x
    return moved


def columns(draws):
    """Free coordinates (S, D): of each simplex all but the last."""
    cut = {name: x[..., :-1] if name in ("w", "P") else x for name, x in draws.items()}
    return np.concatenate([x.reshape(len(x), -1) for x in cut.values()], axis=1)


def long_run(model, draws=10_000):
    """NUTS, thinned to 2,000 draws; of each chain in whichever labelling it is."""
    with warnings.catch_warnings(), model:
        warnings.simplefilter("ignore")
        options = {"chains": 4, "tune": 2_000, "target_accept": 0.95, "progressbar": False}
        idata = pm.sample(draws, nuts_sampler="nutpie", random_seed=5, **options)
    found = parameters_of(idata["posterior"], model)
    every = len(found["mu"]) // NUM_DRAWS
    return {name: x[::every][:NUM_DRAWS] for name, x in found.items()}


def log_densities(model, posterior, correction, draws):
    """Draws in all labellings: the model's own log p(θ, y), and the network's log q, (S,)."""
    options = {"draws": draws, "chains": 1, "random_seed": 6, "labels": "symmetric"}
    idata = posterior.sample(correction=correction, **options)
    simulator = pma.compile_simulator(model, device="cpu")
    found = parameters_of(idata["posterior"], model)
    log_q = posterior.log_prob(found, labels="symmetric")
    log_p = []
    for start in range(0, draws, 1_000):
        few = {name: torch.as_tensor(x[start : start + 1_000]) for name, x in found.items()}
        vector = simulator.parameters.unconstrain(few)
        log_prior = simulator.density.log_prior(simulator.parameters.split(vector))
        log_p.append(log_prior + simulator.density.log_marginal(few, simulator.observed_data))
    return torch.cat(log_p).numpy(), log_q


def evidence_as_written(model, posterior, draws=8_000, parts=4):
    """log p(y) by bridge sampling (Meng & Wong, 1996) in all labellings, and its standard error.

    Between the network and the posterior, over the unconstrained parameters of the model as it is.
    """
    pairs = [log_densities(model, posterior, c, draws) for c in ("none", "auto")]
    found = []
    for part in range(parts):
        from_q, from_p = (p[part::parts] - q[part::parts] for p, q in pairs)
        log_r = np.median(from_p)
        for _ in range(200):
            above = -np.logaddexp(0.0, log_r - from_q)  # of p / (p + r q)
            below = -np.logaddexp(log_r, from_p)  # of q / (p + r q)
            log_r = logsumexp(above) - logsumexp(below)
        found.append(log_r)
    return np.mean(found), np.std(found, ddof=1) / math.sqrt(parts)


def canonical(training="default"):
    """C2ST in one labelling, a two-sample test in all of them, and the evidence in both."""
    for name, (build, num_labels) in CASES.items():
        model, marginal = build(num_labels, np.random.default_rng(3))
        started = time.perf_counter()
        reference = long_run(marginal)
        seconds = time.perf_counter() - started
        reference = permuted(reference, reference["mu"].argsort(axis=1))
        options = {"training": training, "random_seed": 1, "progressbar": False}
        posterior = pma.fit(model, order_by="mu", **options)
        print(f"{name}: NUTS {seconds:.0f} s, training {posterior.record.seconds:.0f} s")
        compared(model, posterior, reference)
        by_sigma = pma.fit(model, order_by="sigma", **options).sample(random_seed=3)
        print(f"  log evidence in order of sigma {evidence_of(by_sigma)}")


def compared(model, posterior, reference):
    """Print how our draws compare with a reference that is in order of mu."""
    sampling = {"draws": NUM_DRAWS, "chains": 1, "random_seed": 2}
    idata = posterior.sample(**sampling)
    ours = parameters_of(idata["posterior"], model)
    print(f"  canonical: C2ST {c2st(columns(ours), columns(reference)):.3f}")
    idata = posterior.sample(**sampling, labels="symmetric")
    everywhere = parameters_of(idata["posterior"], model)
    order = np.random.default_rng(4).random(reference["mu"].shape).argsort(axis=1)
    theirs = permuted(reference, order)
    p_value, where = smallest_p_value({"x": columns(everywhere)}, {"x": columns(theirs)})
    accuracy = c2st(columns(everywhere), columns(theirs))
    print(f"  symmetric: smallest p {p_value:.3f} ({where}), C2ST {accuracy:.3f}")
    log_evidence, error = evidence_as_written(model, posterior)
    print(
        f"  log evidence in order of mu {evidence_of(idata)}, "
        f"in all labellings {log_evidence:.3f} ± {error:.3f}"
    )


def evidence_of(idata):
    attrs = idata["sample_stats"].attrs
    return f"{attrs['log_evidence']:.3f} ± {attrs['log_evidence_error']:.3f}"
