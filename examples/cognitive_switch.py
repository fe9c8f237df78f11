"""Guessing or thinking: the mind of a person in an experiment as a hidden Markov model.

    python examples/cognitive_switch.py [--person A] [--trials 400] [--lengths 300 1200]
                                        [--training PRESET|STEPS] [--output pictures]

In a lexical decision task the pay-off moved between speed and accuracy (Dutilh et al. 2011). On
each trial a person either guesses, fast, or lets the stimulus decide, slowly, and tends to stay
with what they do. Response times while guessing follow a Wald distribution, and responses are a
coin; while the stimulus controls, two Wald processes race, and the first gives time and response.

Trains a network for 300 to 1,200 trials once (it is found again at the second run), which answers
any of the eleven people; samples the posterior, checks it against the data, and saves four
pictures. The cells of the script are those of a notebook.
"""

# %% The data, and the model
import argparse
import pathlib
import time

from typing import Any

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

from pymc.distributions.dist_math import normal_lcdf
from pytensor.graph.basic import Variable

import pymc_amortized as pma

DATA = pathlib.Path(__file__).parent / "data"
LENGTHS = (300, 1_200)
PARAMETERS = ["stay", "alpha_1", "alpha_2", "nu_1", "nu_21", "nu_22", "tau"]


def read(person: str, num_trials: int | None = None) -> np.ndarray:
    """Return response times in seconds, negative where the response was incorrect, (T,)."""
    table = np.genfromtxt(DATA / f"dutilh_{person}.csv", delimiter=",", names=True)
    return np.where(table["accumulator"] == 1, table["rt"], -table["rt"])[:num_trials]


def log_wald(t: Variable, alpha: Variable, nu: Variable) -> Variable:
    """Log density of the time to a threshold alpha with drift nu."""
    return pt.log(alpha) - 0.5 * pt.log(2 * np.pi * t**3) - (alpha - nu * t) ** 2 / (2 * t)


def log_wald_survival(t: Variable, alpha: Variable, nu: Variable) -> Variable:
    """Log probability that the threshold is not reached by t."""
    root = pt.sqrt(t)
    arrived = normal_lcdf(0, 1, (alpha - nu * t) / root)
    reflected = 2 * alpha * nu + normal_lcdf(0, 1, -(alpha + nu * t) / root)
    return arrived + pt.log1p(-pt.exp(pt.minimum(reflected - arrived, -1e-10)))


def log_density(y: Variable, z: Variable, *parameters: Variable) -> Variable:
    """Log density of signed response times, given the state and the parameters."""
    alpha_1, alpha_2, nu_1, nu_21, nu_22, tau = parameters
    t = pt.abs(y) - tau
    safe = pt.switch(t > 0, t, 1.0)
    guessing = np.log(0.5) + log_wald(safe, alpha_1, nu_1)
    correct = log_wald(safe, alpha_2, nu_22) + log_wald_survival(safe, alpha_2, nu_21)
    incorrect = log_wald(safe, alpha_2, nu_21) + log_wald_survival(safe, alpha_2, nu_22)
    controlled = pt.switch(y > 0, correct, incorrect)
    return pt.switch(t > 0, pt.switch(pt.eq(z, 0), guessing, controlled), -np.inf)


def draw(
    z: Variable,
    alpha_1: Variable,
    alpha_2: Variable,
    nu_1: Variable,
    nu_21: Variable,
    nu_22: Variable,
    tau: Variable,
    size: Variable,
) -> Variable:
    """Signed response times, given the state and the parameters."""
    like = pt.zeros_like(z, dtype="float64")

    def wald(alpha: Variable, nu: Variable) -> Variable:
        return pm.Wald.dist(mu=alpha / nu + like, lam=alpha**2 + like)

    guess = wald(alpha_1, nu_1)
    coin = 2 * pm.Bernoulli.dist(0.5 + like) - 1
    incorrect, correct = wald(alpha_2, nu_21), wald(alpha_2, nu_22)
    sign = pt.switch(correct < incorrect, 1, -1)
    time = tau + pt.switch(pt.eq(z, 0), guess, pt.minimum(correct, incorrect))
    return time * pt.switch(pt.eq(z, 0), coin, sign)


def build(signed_rt: np.ndarray) -> pm.Model:
    coords = {"state": ["guessing", "controlled"], "trial": np.arange(len(signed_rt))}
    with pm.Model(coords=coords) as model:
        stay = pm.Beta("stay", 16, 4, dims="state")
        alpha_1 = pm.TruncatedNormal("alpha_1", 0.5, 0.3, lower=0)
        alpha_step = pm.TruncatedNormal("alpha_step", 1.5, 0.5, lower=0)
        nu_1 = pm.TruncatedNormal("nu_1", 5.5, 1, lower=0)
        nu_21 = pm.TruncatedNormal("nu_21", 2.5, 0.5, lower=0)
        nu_step = pm.TruncatedNormal("nu_step", 2.5, 1, lower=0)
        tau = pm.Exponential("tau", scale=0.2)
        alpha_2 = pm.Deterministic("alpha_2", alpha_1 + alpha_step)
        nu_22 = pm.Deterministic("nu_22", nu_21 + nu_step)
        P = pt.stack([pt.stack([stay[0], 1 - stay[0]]), pt.stack([1 - stay[1], stay[1]])])
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain(
            "z", P=P, init_dist=first, dims="trial", shape=(len(signed_rt),)
        )
        pm.CustomDist(
            "signed_rt",
            z,
            alpha_1,
            alpha_2,
            nu_1,
            nu_21,
            nu_22,
            tau,
            dist=draw,
            logp=log_density,
            observed=signed_rt,
            dims="trial",
        )
    return model


# %% What the posterior says
def summarize(idata: Any, title: str) -> None:
    import arviz as az

    attrs = idata.posterior.attrs
    print(f"\n{title}")
    print(az.summary(idata, var_names=PARAMETERS, round_to=3).to_string())
    print(
        f"{attrs['rung']} ({attrs['checked']}): Pareto k {attrs['pareto_k']:.2f}, importance ESS "
        f"{attrs['importance_ess']:.0f} of {attrs['num_proposals']:,} draws, "
        f"{attrs['sampling_time']:.1f} s"
    )
    z = np.asarray(idata.indicators["z"]).reshape(-1, idata.indicators["z"].shape[-1])
    switches = (z[:, 1:] != z[:, :-1]).sum(1)
    low, high = np.percentile(switches, [3, 97])
    print(f"switches: {switches.mean():.1f} ({low:.0f} to {high:.0f}), from joint paths")


# %% Pictures
def plot_states(idata: Any, signed_rt: np.ndarray, path: pathlib.Path) -> None:
    """Response times coloured by the smoothed probability of guessing, and a few joint paths."""
    import matplotlib.pyplot as plt

    smoothing = np.asarray(idata.indicator_probabilities["smoothing"])
    paths = np.asarray(idata.indicators["z"])[0]
    trials = np.arange(len(signed_rt))
    fig, (above, below) = plt.subplots(
        2, 1, figsize=(11, 5.5), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    correct = signed_rt > 0
    for which, marker, label in ((correct, "o", "correct"), (~correct, "x", "incorrect")):
        points = above.scatter(
            trials[which],
            np.abs(signed_rt[which]),
            c=smoothing[which, 1],
            cmap="coolwarm",
            vmin=0,
            vmax=1,
            s=16,
            marker=marker,
            label=label,
        )
    above.set(yscale="log", ylabel="response time (s)")
    above.legend(loc="upper right")
    fig.colorbar(points, ax=above, label="p(controlled | all data)")
    for i, one in enumerate(paths[:: len(paths) // 6][:6]):
        below.step(trials, one * 0.7 + i, where="mid", lw=0.8, color="0.3")
    below.set(xlabel="trial", ylabel="joint paths", yticks=[])
    fig.savefig(path, dpi=100)
    plt.close(fig)


def plot_filtering(idata: Any, path: pathlib.Path) -> None:
    """What was known at each trial against what is known at the end."""
    import matplotlib.pyplot as plt

    probabilities = idata.indicator_probabilities
    trials = np.arange(probabilities["smoothing"].shape[0])[:200]
    fig, ax = plt.subplots(figsize=(11, 3), layout="constrained")
    for kind, colour in (("filtering", "0.6"), ("smoothing", "C3")):
        ax.plot(trials, np.asarray(probabilities[kind])[:200, 1], color=colour, lw=1.2, label=kind)
    ax.step(
        trials, np.asarray(probabilities["viterbi"])[:200], where="mid", ls=":", label="Viterbi"
    )
    ax.set(xlabel="trial", ylabel="p(controlled)", ylim=(-0.05, 1.05))
    ax.legend(loc="lower right")
    fig.savefig(path, dpi=100)
    plt.close(fig)


def plot_prediction(model: pm.Model, idata: Any, signed_rt: np.ndarray, path: pathlib.Path) -> None:
    """Data sets that the posterior predicts, with their own states, against the data."""
    import matplotlib.pyplot as plt

    with model:
        few = idata.sel(draw=slice(None, None, 80))
        # z too, or the predictions would be for the very states that the data suggest.
        predicted = pm.sample_posterior_predictive(
            few, var_names=["z", "signed_rt"], random_seed=1, progressbar=False
        )
    predicted = np.asarray(predicted.posterior_predictive["signed_rt"])
    predicted = predicted.reshape(-1, predicted.shape[-1])
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.5), layout="constrained")
    bins = np.linspace(-2.5, 2.5, 81)
    for one in predicted:
        axes[0].hist(one, bins, density=True, histtype="step", color="0.8", lw=0.5)
    axes[0].hist(signed_rt, bins, density=True, histtype="step", color="C0", lw=1.5)
    axes[0].set(xlabel="response time (s), negative if incorrect", ylabel="density")

    def autocorrelation(y: np.ndarray) -> np.ndarray:
        x = np.log(np.abs(y))
        x = x - x.mean()
        return np.array([(x[lag:] * x[: len(x) - lag]).mean() for lag in range(1, 31)]) / x.var()

    for one in predicted:
        axes[1].plot(range(1, 31), autocorrelation(one), color="0.8", lw=0.5)
    axes[1].plot(range(1, 31), autocorrelation(signed_rt), color="C0", lw=1.5)
    axes[1].set(xlabel="lag (trials)", ylabel="autocorrelation of log response times")
    fig.savefig(path, dpi=100)
    plt.close(fig)


def plot_parameters(idata: Any, path: pathlib.Path) -> None:
    import arviz as az
    import matplotlib.pyplot as plt

    plot_posterior = getattr(az, "plot_posterior", None) or az.plot_dist
    plot_posterior(idata, var_names=PARAMETERS)
    plt.gcf().savefig(path, dpi=70, bbox_inches="tight")
    plt.close("all")


# %% All of it
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--person", default="A", choices=list("ABCDEFGHIJK"))
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--training", default="1500", help="a preset, or a number of steps")
    parser.add_argument("--lengths", type=int, nargs=2, default=LENGTHS, help="to be trained for")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("pictures"))
    args = parser.parse_args()
    training = args.training
    if training.isdigit():
        training = pma.TrainingConfig(steps=int(training), tolerance=None)

    model = build(read("A", min(400, args.lengths[1])))
    started = time.perf_counter()
    sizes = {"signed_rt": tuple(args.lengths)}
    posterior = pma.fit(model, sizes=sizes, training=training, random_seed=1)
    print(f"network ready after {time.perf_counter() - started:.0f} s")
    print(posterior)

    signed_rt = read(args.person, args.trials)
    idata = posterior.sample({"signed_rt": signed_rt}, random_seed=1)
    summarize(idata, f"person {args.person}, {len(signed_rt)} trials")

    import matplotlib

    matplotlib.use("Agg")
    args.output.mkdir(parents=True, exist_ok=True)
    plot_parameters(idata, args.output / "switch_parameters.png")
    plot_states(idata, signed_rt, args.output / "switch_states.png")
    plot_filtering(idata, args.output / "switch_filtering.png")
    plot_prediction(build(signed_rt), idata, signed_rt, args.output / "switch_prediction.png")
    print(f"pictures in {args.output}")


if __name__ == "__main__":
    main()
