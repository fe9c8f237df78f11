"""Summary networks trained for the same time on the same models: accuracy of the posterior.

    python -m tests.benchmarks.networks [--seconds 120]

Validation loss in nats per data set (lower is better), and the share of 200 fresh data sets with
Pareto k below 0.7.
"""

import argparse
import functools
import platform

import torch

import pymc_amortized as pma

from tests.benchmarks.mixture import accepted_share, build

CHOICES = {
    "gmm3": {
        "OrderStatisticsNetwork": pma.OrderStatisticsNetwork,
        "SoftClusterNetwork": pma.SoftClusterNetwork,
        "DeepSet": pma.DeepSet,
    },
    "regressions": {
        "SoftClusterNetwork": pma.SoftClusterNetwork,
        "DeepSet": pma.DeepSet,
        "DeepSet, width 32": functools.partial(pma.DeepSet, width=32),
        "SetTransformer": pma.SetTransformer,
    },
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    seconds = parser.parse_args().seconds
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {seconds:.0f} s each"
    )
    config = pma.TrainingConfig(steps=1_000_000, max_time=seconds, tolerance=None)
    for model_name, choices in CHOICES.items():
        model = build(model_name)
        for name, summary in choices.items():
            posterior = pma.fit(
                model,
                training=config,
                networks=pma.Networks(summary=summary),
                random_seed=1,
                cache=False,
                progressbar=False,
            )
            share, _ = accepted_share(posterior)
            loss = min(entry["posterior"] for entry in posterior.history)
            print(
                f"{model_name:12} {name:24} {posterior.record.steps:6,} steps   loss {loss:7.3f}   "
                f"k < 0.7 for {share:.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
