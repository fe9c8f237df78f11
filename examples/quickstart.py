"""Old Faithful: two kinds of waiting, by ``pm.sample(method="amortized")``.

    python examples/quickstart.py [--training fast|default|thorough|STEPS] [--output pictures]

Samples the posterior of a mixture in seconds, shows which eruptions belong to which component, and
saves three pictures. Then trains a network for 100 to 272 eruptions, for many data sets (it is
found again at the second run), and answers eleven more: the first 150 eruptions, and ten windows
of 150 at once.
"""

import argparse
import pathlib
import time

from typing import Any

import numpy as np
import pymc as pm

import pymc_amortized as pma

DATA = pathlib.Path(__file__).parent / "data" / "faithful.csv"


def build(waiting: np.ndarray) -> pm.Model:
    coords = {"component": ["short", "long"], "eruption": np.arange(len(waiting))}
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", np.ones(2), dims="component")
        mu = pm.Normal(
            "mu", 70, 20, dims="component", transform=pm.distributions.transforms.ordered
        )
        sigma = pm.HalfNormal("sigma", 10, dims="component")
        pm.NormalMixture("waiting", w=w, mu=mu, sigma=sigma, observed=waiting, dims="eruption")
    return model


def summarize(idata: Any, title: str) -> None:
    import arviz as az

    attrs = idata.posterior.attrs
    print(f"\n{title}")
    print(az.summary(idata, var_names=["w", "mu", "sigma"], round_to=2).to_string())
    print(
        f"{attrs['rung']} ({attrs['checked']}): Pareto k {attrs['pareto_k']:.2f}, importance ESS "
        f"{attrs['importance_ess']:.0f} of {attrs['num_proposals']:,} draws, "
        f"{attrs['sampling_time']:.2f} s"
    )


def plot(model: pm.Model, idata: Any, waiting: np.ndarray, directory: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import arviz as az
    import matplotlib.pyplot as plt

    directory.mkdir(parents=True, exist_ok=True)
    plot_posterior = getattr(az, "plot_posterior", None) or az.plot_dist
    plot_posterior(idata, var_names=["w", "mu", "sigma"])
    figure = plt.gcf()
    figure.set_layout_engine("tight")
    figure.savefig(directory / "posterior.png", dpi=100, bbox_inches="tight")

    with model:
        few = idata.sel(draw=slice(None, None, 50))
        predictive = pm.sample_posterior_predictive(
            few, var_names=["waiting"], random_seed=1, progressbar=False
        )
    draws = np.asarray(predictive.posterior_predictive["waiting"]).reshape(-1, len(waiting))
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    bins = np.arange(35, 110, 3)
    for row in draws:
        axes.hist(row, bins, histtype="step", density=True, color="C0", alpha=0.12)
    axes.hist(waiting, bins, histtype="step", density=True, color="black", label="observed")
    axes.plot([], color="C0", label="posterior predictive")
    axes.set(xlabel="waiting time (minutes)", ylabel="density")
    axes.legend(frameon=False)
    figure.savefig(directory / "predictive.png", dpi=100)

    p_long = np.asarray(idata.indicator_probabilities["waiting_component"])[:, 1]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    points = axes.scatter(np.arange(len(waiting)), waiting, c=p_long, cmap="coolwarm", s=18)
    figure.colorbar(points, label="p(long wait | data)")
    axes.set(xlabel="eruption", ylabel="waiting time (minutes)")
    figure.savefig(directory / "membership.png", dpi=100)
    print(f"\nPictures in {directory}: posterior.png, predictive.png, membership.png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--training", default="default")
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    waiting = np.genfromtxt(DATA, delimiter=",", names=True)["waiting"]

    training = arguments.training
    if training.isdigit():
        training = pma.TrainingConfig(steps=int(training))

    model = build(waiting)
    start = time.perf_counter()
    with model:
        idata = pm.sample(method="amortized", random_seed=1)
    print(f"{len(waiting)} eruptions: {time.perf_counter() - start:.1f} s")
    summarize(idata, "All eruptions")
    p = np.asarray(idata.indicator_probabilities["waiting_component"])
    print("\nwaiting_component: probabilities of a short and of a long wait")
    for i in (0, 1, 3, 5):
        print(f"  eruption {i}, after {waiting[i]:.0f} minutes: {p[i, 0]:.3f} {p[i, 1]:.3f}")
    if arguments.output is not None:
        plot(model, idata, waiting, arguments.output)

    print("\nFor many data sets: a network for 100 to 272 eruptions")
    start = time.perf_counter()
    options = {"sizes": {"waiting": (100, 272)}, "training": training, "random_seed": 1}
    posterior = pma.fit(model, **options)
    print(f"{posterior}\n{time.perf_counter() - start:.1f} s, or found in the cache")
    start = time.perf_counter()
    second = posterior.sample({"waiting": waiting[:150]}, random_seed=2)
    print(f"\nOne more data set: {time.perf_counter() - start:.2f} s")
    summarize(second, "The first 150 eruptions")
    windows = [{"waiting": waiting[12 * i : 12 * i + 150]} for i in range(10)]
    start = time.perf_counter()
    many = posterior.sample_many(windows, random_seed=3)
    print(f"\nTen more at once: {time.perf_counter() - start:.1f} s; mean of a long wait, minutes")
    means = np.asarray(many.posterior["mu"].sel(component="long").mean(("chain", "draw")))
    print("  " + " ".join(f"{mean:.1f}" for mean in means))


if __name__ == "__main__":
    main()
