"""The lower rooms work where PyMC, PyTensor and ArviZ cannot be imported."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

import pymc_amortized

ROOT = pathlib.Path(pymc_amortized.__file__).parent
BLOCK = textwrap.dedent(f"""
    import importlib, pkgutil, sys, types, warnings
    warnings.simplefilter("ignore")

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("pymc", "pymc_extras", "pytensor", "arviz"):
                raise ImportError(f"{{name}} is blocked")

    sys.meta_path.insert(0, Blocker())
    package = types.ModuleType("pymc_amortized")
    package.__path__ = [{str(ROOT)!r}]
    sys.modules["pymc_amortized"] = package

    def import_all(room):
        module = importlib.import_module(f"pymc_amortized.{{room}}")
        for found in pkgutil.walk_packages(module.__path__, module.__name__ + "."):
            importlib.import_module(found.name)
""")
USE = {
    "discrete": """
        import torch
        from pymc_amortized.discrete import MarkovChain, smooth
        from pymc_amortized.discrete.log_sum import log_sum
        table = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
        chain = MarkovChain(torch.tensor([0.5, 0.5]).log(), table, torch.zeros(4, 2))
        print(bool((smooth(chain).exp().sum(-1) - 1).abs().max() < 1e-6))
    """,
    "importance": """
        import math
        import torch
        from pymc_amortized.importance.acceptance import AcceptanceRule
        from pymc_amortized.importance.adaptive import Rounds, adapt
        from pymc_amortized.importance.pool import Pool, Proposal
        generator = torch.Generator().manual_seed(1)

        def log_normal(x, mean, scale):
            z = (x - mean) / scale
            return (-z.square() / 2).sum(-1) - math.log(scale) - math.log(2 * math.pi) / 2

        def target(x, index):
            return torch.logaddexp(log_normal(x, -2.0, 0.3), log_normal(x, 2.0, 0.6)), x

        def draw(n, index):
            x = 3 * torch.randn(n, 1, 1, generator=generator).double()
            return x, log_normal(x, 0.0, 3.0)

        first = Proposal(draw, lambda x, index: log_normal(x, 0.0, 3.0))
        x, log_q = first.sample(1_000, None)
        pool = Pool(x, *target(x, None), (log_q,), (1_000,))
        rule, rounds = AcceptanceRule(), Rounds(1_000)
        found = adapt(pool, target, first, rule, 1_000, rounds, generator=generator)
        [(_, pool, weights)] = found
        integral = float(pool.log_weights.exp().mean())
        print(bool(AcceptanceRule().accepts(weights).all()) and abs(integral - 2) < 0.1)
    """,
    "networks": """
        import torch
        from pymc_amortized.networks.build import build_estimator
        from pymc_amortized.networks.units import Units, UnitShape
        shape = UnitShape(1, 5, 5, num_components=2, learns="units")
        estimator = build_estimator([shape], 2, 6)
        units = [Units(torch.randn(3, 5, 1), torch.ones(3, 5, dtype=torch.bool))]
        context = estimator.context(estimator.scaled(units))
        draws = estimator.sample(context, 4)
        density = estimator.log_prob(draws, context)
        features = torch.zeros(3, 6)
        table = estimator.classify(0, estimator.scaled(units)[0], features).exp().sum(-1)
        finite = bool(torch.isfinite(draws).all() and torch.isfinite(density).all())
        print(finite and density.shape == (4, 3) and bool((table - 1).abs().max() < 1e-5))
    """,
}


def run(code):
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("room", USE)
def test_the_room_needs_no_pymc(room):
    found = run(f"import_all({room!r})\n" + textwrap.dedent(USE[room]))
    assert found.stdout.split() == ["True"], found.stderr


def test_a_room_that_needs_it_is_seen():
    """A planted fault: reading a model cannot do without."""
    found = run("import_all('model')")
    assert found.returncode != 0
    assert "is blocked" in found.stderr
