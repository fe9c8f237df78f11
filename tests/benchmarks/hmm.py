"""Hidden Markov models: networks against exact filters, answers against long NUTS runs, and speed.

    python -m tests.benchmarks.hmm [part ...] [--training PRESET] [--people A B ...]

Needs the ``benchmark`` extra (nutpie, scikit-learn). Parts:

normal    Two normal states with replicates, 100 time points: cross-entropy of the network's filter
          and smoother against the exact ones at the true parameters, paired on 500 fresh data sets,
          and the number of switches in paths of either.
switch    Eleven people of ``examples/cognitive_switch.py``, the first 400 trials and all of them:
          C2ST and means against nutpie, and seconds of either.
poisson   Three Poisson states whose chain is not reversible, 200 to 1,200 time points: the same as
          ``normal``, and answers at several lengths in one call.
learned   States that are kept for at least three time points and of which only draws are known: the
          learned paths against a chain that counts.
speed     Smoothing, filtering and one path for each of 4,000 draws, at 2,000 time points and four
          states: seconds and memory.
"""

import argparse
import platform
import resource
import time
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import torch

from scipy import stats

import pymc_amortized as pma

from examples import cognitive_switch
from pymc_amortized.diagnostics import c2st
from pymc_amortized.discrete import (
    MarkovChain,
    decode,
    forward_filter,
    sample_paths,
    smooth,
)
from tests.dwelling import compare_learned_paths, dwelling

ORDERED = pm.distributions.transforms.ordered
NUM_FRESH = 500
NUM_DRAWS = 4_000
START = {"alpha_1": 0.5, "alpha_step": 1.5, "nu_1": 5.5, "nu_21": 2.5, "nu_step": 2.5}


def normal_states(num_times=100, seed=0):
    """Two normal states; two to five replicates at each time point."""
    rng = np.random.default_rng(seed)
    count = rng.integers(2, 6, num_times)
    y = np.ma.masked_array(rng.normal(size=(num_times, 5)), np.arange(5) >= count[:, None])
    with pm.Model(coords={"time": range(num_times)}) as model:
        stay = pm.Beta("stay", 2, 2, shape=2)
        P = pt.stack([pt.stack([stay[0], 1 - stay[0]]), pt.stack([1 - stay[1], stay[1]])])
        mu = pm.Normal("mu", [-1, 1], 1, transform=ORDERED)
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, dims="time", shape=(num_times,))
        pm.Normal("y", mu[z][:, None], 1, observed=y)
    return model


def poisson_states(num_times=400, seed=0):
    """Three Poisson states that prefer to follow each other in a circle."""
    y = np.random.default_rng(seed).poisson(5, num_times)
    with pm.Model(coords={"time": range(num_times)}) as model:
        P = pm.Dirichlet("P", np.array([[8.0, 2.0, 0.5], [0.5, 8.0, 2.0], [2.0, 0.5, 8.0]]))
        log_rate = pm.Normal("log_rate", [0.5, 1.5, 2.5], 0.4, transform=ORDERED)
        first = pm.Categorical.dist(np.full(3, 1 / 3))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, dims="time", shape=(num_times,))
        pm.Poisson("y", pt.exp(log_rate[z]), observed=y, dims="time")
    return model


def fitted(model, sizes, training):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pm.exceptions.ImputationWarning)
        started = time.perf_counter()
        posterior = pma.fit(model, sizes=sizes, training=training, random_seed=1)
    record = posterior.record
    print(
        f"  network after {time.perf_counter() - started:.0f} s (trained in {record.seconds:.0f} s,"
        f" {record.steps:,} steps); Pareto k < 0.7 for {record.accepted_share:.0%} of fresh data "
        "sets",
        flush=True,
    )
    return posterior


def fresh(posterior, num_datasets, seed):
    """Return parameters, frames, codes (B, T), and chains with exact and with learned emissions."""
    inference = posterior.inference
    source = inference.problem.source
    parameters, frames, codes = source.draw_frames(num_datasets, seed)
    indicator = inference.problem.spec.indicators[0]
    one_draw = {name: x.unsqueeze(0) for name, x in parameters.items()}
    exact = inference.problem.exact.chain(indicator, one_draw, frames)
    estimator = inference.estimator
    [raw] = inference.problem.layout.units(frames)
    [units] = estimator.scaled([raw])
    vector = inference.problem.space.unconstrain(parameters)
    with torch.no_grad():
        log_q = estimator.classify(0, units, inference.problem.space.features(vector, parameters))
    observed = (raw.values[..., -1] > 0).unsqueeze(-1)
    emission = torch.where(observed, log_q.double()[:, :, 0], 0.0)
    learned = MarkovChain(exact.log_initial[0], exact.log_transition[0], emission)
    exact = MarkovChain(exact.log_initial[0], exact.log_transition[0], exact.log_emission[0])
    return parameters, frames, codes[0][..., 0], raw.mask, exact, learned


def entropy(log_probs, codes, mask):
    """Cross-entropy of each data set, in nats per time point."""
    terms = -log_probs.gather(-1, codes.unsqueeze(-1)).squeeze(-1)
    return ((terms * mask).sum(1) / mask.sum(1)).numpy()


def compare_states(posterior, seed):
    """Filter, smoother and paths of the network against exact ones, at the true parameters."""
    _, _, codes, mask, exact, learned = fresh(posterior, NUM_FRESH, seed)
    for kind, function in (
        ("filter", lambda chain: forward_filter(chain).log_filtering),
        ("smoother", smooth),
    ):
        ours, theirs = (entropy(function(c), codes, mask) for c in (learned, exact))
        gap = ours - theirs
        print(
            f"  {kind}: network {ours.mean():.4f}, exact {theirs.mean():.4f} nats; difference "
            f"{gap.mean():.4f} +- {gap.std() / np.sqrt(len(gap)):.4f}"
        )
    switches = []
    for chain, number in ((learned, 1), (exact, 2)):
        paths = sample_paths(chain, 1, torch.Generator().manual_seed(number))[0]
        moved = (paths[:, 1:] != paths[:, :-1]) & mask[:, 1:]
        switches.append(moved.sum(1).numpy())
    test = stats.ks_2samp(*switches)
    paired = stats.wilcoxon(switches[0] - switches[1])
    print(
        f"  switches in a path: network {switches[0].mean():.2f}, exact {switches[1].mean():.2f}; "
        f"Kolmogorov-Smirnov p = {test.pvalue:.2f}, signed ranks p = {paired.pvalue:.2f}"
    )


def normal(args):
    print("two normal states")
    posterior = fitted(normal_states(), {"y": (100, 100)}, args.training)
    compare_states(posterior, 177)


def poisson(args):
    print("three Poisson states")
    posterior = fitted(poisson_states(), {"y": (200, 1_200)}, args.training)
    compare_states(posterior, 177)
    inference = posterior.inference
    source = inference.problem.source
    parameters, frames, codes = source.draw_frames(30, 91)
    lengths = (frames.times >= 0).sum(1)
    datasets = [
        {"y": frames.observations["y"][b].flatten()[: lengths[b]].numpy()} for b in range(30)
    ]
    lengths_of = f"{int(lengths.min())} to {int(lengths.max())}"
    started = time.perf_counter()
    idata = posterior.sample_many(datasets, random_seed=1, progressbar=False)
    seconds = time.perf_counter() - started
    table = pma.answers_table(idata)
    rate = np.asarray(idata.posterior["log_rate"]).reshape(-1, 30, 3)
    truth = parameters["log_rate"].numpy()
    inside = (np.quantile(rate, 0.05, axis=0) < truth) & (truth < np.quantile(rate, 0.95, axis=0))
    print(
        f"  30 sequences of {lengths_of} in one call: {seconds / 30:.2f} s each, "
        f"{(table['checked'] == 'accepted').mean():.0%} accepted; rungs "
        f"{table['rung'].value_counts().to_dict()}; true rates in 90 % intervals: "
        f"{inside.mean():.0%}"
    )
    smoothing = np.asarray(idata.indicator_probabilities["smoothing"])
    hits = [
        (smoothing[b, : lengths[b]].argmax(-1) == codes[0][b, : lengths[b], 0].numpy()).mean()
        for b in range(30)
    ]
    print(f"  states right by smoothing: {np.mean(hits):.3f}")


def learned(args):
    print("states of which only draws are known, 40 time points")
    y = np.random.default_rng(0).normal(size=40)
    posterior = fitted(dwelling(y), None, args.training)
    gaps, stays = compare_learned_paths(posterior, NUM_FRESH, 177)
    print(
        f"  divergence from the exact filter {gaps['filtering']:.4f}, smoother "
        f"{gaps['smoothing']:.4f} nats per time point; stays below three time points: "
        f"{stays['paths']:.1%} of those in paths, {stays['independent']:.0%} where states are "
        "drawn one by one from the exact smoother"
    )


def marginal_switch(signed_rt):
    """The same model with the chain summed out, for nutpie."""
    from pymc_amortized.data.dataset import read_dataset
    from pymc_amortized.data.layout import DataLayout
    from pymc_amortized.inference.correction.framed import framed_data
    from pymc_amortized.model.density.marginal import MarginalModel

    simulator = pma.compile_simulator(cognitive_switch.build(signed_rt), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates)
    shapes = [spec.unconstrained_shape for spec in simulator.parameters.specs]
    marginal = MarginalModel(simulator.density, shapes, framed=False, guarded=True)
    frames = read_dataset(layout, simulator.observed_data).frames
    start = simulator.parameters.unconstrain(
        {
            "stay": torch.tensor([[0.8, 0.8]], dtype=torch.float64),
            **{name: torch.tensor([value], dtype=torch.float64) for name, value in START.items()},
            "tau": torch.tensor([0.3 * np.abs(signed_rt).min()], dtype=torch.float64),
        }
    )[0].numpy()
    scale = 0.1 * np.eye(marginal.size)
    marginal.set_data(marginal.arrays(framed_data(layout, frames), start, scale))
    return marginal, start, scale


def nuts(signed_rt, seed):
    """Return unconstrained draws of eight chains, the largest R-hat, and seconds of sampling."""
    import arviz
    import nutpie

    marginal, start, scale = marginal_switch(signed_rt)
    compiled = nutpie.compile_pymc_model(marginal.model)
    started = time.perf_counter()
    trace = nutpie.sample(
        compiled,
        draws=1_000,
        tune=1_000,
        chains=8,
        cores=2,
        seed=seed,
        target_accept=0.9,
        progress_bar=False,
    )
    seconds = time.perf_counter() - started
    u = np.asarray(trace.posterior["u"])
    rhat = max(float(arviz.rhat(np.ascontiguousarray(u[..., d]))) for d in range(u.shape[-1]))
    return start + u.reshape(-1, u.shape[-1]) @ scale.T, rhat, seconds


def switch(args):
    print("cognitive switch")
    first = cognitive_switch.read("A", 400)
    sizes = {"signed_rt": cognitive_switch.LENGTHS}
    posterior = fitted(cognitive_switch.build(first), sizes, args.training)
    rng = np.random.default_rng(0)
    for num_trials in args.trials:
        ours, theirs = [], []
        for person in args.people:
            y = cognitive_switch.read(person, num_trials or None)
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                idata = posterior.sample({"signed_rt": y}, random_seed=1)
            ours.append(time.perf_counter() - started)
            attrs = idata.posterior.attrs
            space = posterior.inference.problem.simulator.parameters
            values = {
                name: torch.as_tensor(
                    np.asarray(idata.posterior[name]).reshape(NUM_DRAWS, *space_shape)
                )
                for name, space_shape in ((s.name, s.shape) for s in space.specs)
            }
            draws = space.unconstrain(values).numpy()
            text = f"  {person}, {len(y)} trials: {attrs['rung']} ({attrs['checked']})"
            text += f", k {attrs['pareto_k']:.2f}, ESS {attrs['importance_ess']:.0f}"
            text += f", network k {attrs['network_pareto_k']:.2f}, {ours[-1]:.1f} s"
            if args.nuts:
                reference, rhat, seconds = nuts(y, 1)
                theirs.append(seconds)
                pick = rng.choice(len(reference), NUM_DRAWS, replace=False)
                score = c2st(draws, reference[pick])
                scale = reference.std(0)
                off = np.abs(draws.mean(0) - reference.mean(0)) / scale
                text += f"; nutpie R-hat {rhat:.3f}, {seconds:.0f} s; C2ST {score:.3f}"
                text += f", means within {off.max():.2f} sd"
            means = {
                name: (float(idata.posterior[name].mean()), float(idata.posterior[name].std()))
                for name in cognitive_switch.PARAMETERS[1:]
            }
            text += "; " + " ".join(f"{n} {m:.4g} ({s:.2g})" for n, (m, s) in means.items())
            print(text, flush=True)
        print(f"  {np.mean(ours):.1f} s per person", end="")
        if theirs:
            gain = np.mean(theirs) - np.mean(ours)
            print(
                f", nutpie {np.mean(theirs):.1f} s: pays for itself after "
                f"{posterior.record.seconds / gain:.0f} data sets",
                end="",
            )
        print()


def speed(_):
    num_draws, num_times, num_states = 4_000, 2_000, 4
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    initial = random(num_draws, num_states).log_softmax(-1)
    transition = (
        random(num_draws, num_states, num_states) + 3 * torch.eye(num_states)
    ).log_softmax(-1)
    y, mu = random(num_times), random(num_draws, num_states)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started = time.perf_counter()
    smoothing, paths = 0.0, []
    for part in torch.arange(num_draws).split(500):
        # States first and draws last in memory, as the densities of models are.
        emission = -0.5 * (y[:, None, None] - mu[part].T).square()
        chain = MarkovChain(initial[part], transition[part], emission.movedim(-1, 0))
        decoded = decode(chain, generator)
        smoothing = smoothing + decoded.smoothing.sum(0)
        paths.append(decoded.paths.to(torch.int16))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"speed: T = {num_times:,}, K = {num_states}, {num_draws:,} draws: filtering, smoothing "
        f"and one path each in {seconds:.1f} s; {peak:.2f} GB at most, {before:.2f} before"
    )


PARTS = {"normal": normal, "switch": switch, "poisson": poisson, "learned": learned, "speed": speed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--training", default="default")
    parser.add_argument("--people", nargs="+", default=list("ABCDEFGHIJK"))
    parser.add_argument("--trials", nargs="+", type=int, default=[400, 0], help="0: all of them")
    parser.add_argument("--no-nuts", dest="nuts", action="store_false")
    args = parser.parse_args()
    if args.training.isdigit():
        args.training = pma.TrainingConfig(steps=int(args.training), tolerance=None)
    print(
        f"Python {platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for part in args.parts or PARTS:
        PARTS[part](args)


if __name__ == "__main__":
    main()
