"""A training step and 4,000 draws of the posterior network, and of normflows' own spline layers.

    python -m tests.benchmarks.flow

D = 8 parameters, context 64, batches of 256; two of our layers against two autoregressive and four
coupling layers of normflows with the same width and bins. Medians of several rounds in which they
take turns.
"""

import platform
import statistics
import time

import normflows
import torch

from pymc_amortized.networks.posterior.spline_flow import SplineFlow

NUM_PARAMETERS, CONTEXT, WIDTH, BINS, BATCH = 8, 64, 128, 8, 256
ROUNDS = 7


def of_normflows(layer, number):
    base = normflows.distributions.DiagGaussian(NUM_PARAMETERS, trainable=False)
    layers = [
        layer(
            NUM_PARAMETERS,
            2,
            WIDTH,
            num_context_channels=CONTEXT,
            num_bins=BINS,
            tail_bound=6.0,
        )
        for _ in range(number)
    ]
    return normflows.ConditionalNormalizingFlow(base, layers)


def seconds(run, repeats):
    run()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def main():
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, normflows "
        f"{normflows.__version__ if hasattr(normflows, '__version__') else ''}, "
        f"{torch.get_num_threads()} threads"
    )
    torch.manual_seed(0)
    flows = {
        "ours, 2 layers": SplineFlow(NUM_PARAMETERS, CONTEXT, 2, WIDTH, BINS).flow,
        "normflows autoregressive, 2 layers": of_normflows(
            normflows.flows.AutoregressiveRationalQuadraticSpline, 2
        ),
        "normflows coupling, 4 layers": of_normflows(
            normflows.flows.CoupledRationalQuadraticSpline, 4
        ),
    }
    scores, context = torch.randn(BATCH, NUM_PARAMETERS), torch.randn(BATCH, CONTEXT)
    base, one = torch.randn(4_000, NUM_PARAMETERS), torch.randn(1, CONTEXT).expand(4_000, -1)
    steps, draws = {name: [] for name in flows}, {name: [] for name in flows}
    for _ in range(ROUNDS):
        for name, flow in flows.items():

            def step(flow=flow):
                flow.zero_grad()
                (-flow.log_prob(scores, context).mean()).backward()

            def draw(flow=flow):
                with torch.no_grad():
                    flow.forward_and_log_det(base, context=one)

            steps[name].append(seconds(step, 10))
            draws[name].append(seconds(draw, 2))
    for name, flow in flows.items():
        number = sum(p.numel() for p in flow.parameters())
        print(
            f"{name:36} step {1e3 * statistics.median(steps[name]):6.1f} ms   4,000 draws "
            f"{1e3 * statistics.median(draws[name]):6.0f} ms   {number:,} weights"
        )


if __name__ == "__main__":
    main()
