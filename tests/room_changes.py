"""Count how often data change rooms on the main ways through the package.

Calls are followed while a way is gone: one is counted when code of one room calls code of another,
whatever libraries lie between. To read a property, or a length, is not to hand data over, and is
not counted. Rooms are folders, or files, directly in the package. ::

    python -m tests.room_changes

Without the second estimate of answers, which 0.5.0 did not have; ``--confirm`` counts it as well.
To compare with another checkout, run this file there, by its path, from the root of the checkout.
"""

import argparse
import logging
import os
import pathlib
import sys
import warnings

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymc as pm
import torch

sys.path.insert(0, os.getcwd())

import pymc_amortized as pma

ROOT = pathlib.Path(pma.__file__).parent
OPTIONS = {"random_seed": 1, "progressbar": False, "cache": False}


def data(num_units: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.random(num_units) < 0.35
    return np.where(z, rng.normal(-2, 0.7, num_units), rng.normal(1.5, 1.0, num_units))


def mixture(transform: Any = None) -> pm.Model:
    """Two normals, in order if a transform says so."""
    with pm.Model(coords={"component": ["a", "b"], "unit": range(40)}) as model:
        w = pm.Dirichlet("w", 2 * np.ones(2), dims="component")
        mu = pm.Normal("mu", 0, 3, dims="component", transform=transform)
        sigma = pm.HalfNormal("sigma", 1, dims="component")
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=data(), dims="unit")
    return model


def readers() -> set[Any]:
    """Return the code of properties, cached ones too, of ``__len__``, and of what torch calls."""
    found = set()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "pymc_amortized":
            continue
        for cls in [x for x in vars(module).values() if isinstance(x, type)]:
            for key, item in vars(cls).items():
                function = getattr(item, "fget", None) or getattr(item, "func", None)
                function = item if key in ("__len__", "__torch_dispatch__") else function
                if hasattr(function, "__code__"):
                    found.add(function.__code__)
    return found


@contextmanager
def follow() -> Iterator[Counter]:
    """Count calls from room to room, by (calling function, called function)."""
    calls: Counter = Counter()
    rooms: dict[Any, str | None] = {}
    skipped = readers()
    prefix = str(ROOT) + os.sep

    def room_of(code: Any) -> str | None:
        if code not in rooms:
            name = code.co_filename
            parts = name[len(prefix) :].split(os.sep) if name.startswith(prefix) else []
            rooms[code] = parts[0].removesuffix(".py") if parts else None
        return rooms[code]

    def trace(frame: Any, event: str, _: Any) -> None:
        if event != "call" or frame.f_code in skipped:
            return
        room = room_of(frame.f_code)
        if room is None:
            return
        above = frame.f_back
        while above is not None and room_of(above.f_code) is None:
            above = above.f_back
        if above is not None and room_of(above.f_code) != room:
            calls[
                (room_of(above.f_code), above.f_code.co_qualname, room, frame.f_code.co_qualname)
            ] += 1

    sys.setprofile(trace)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def rule_of(confirm: bool) -> dict[str, Any]:
    """Return the argument that leaves the second estimate out, where there is one."""
    rule = getattr(pma, "AcceptanceRule", None)
    known = rule is not None and hasattr(rule(), "confirm")
    return {"acceptance": rule(confirm="none")} if known and not confirm else {}


def ways(confirm: bool = False) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the main ways, prepared so that nothing but the way itself is followed."""
    rule = rule_of(confirm)
    ordered = mixture(pm.distributions.transforms.ordered)
    config = pma.TrainingConfig(steps=20, batch_size=64, num_validation=64, tolerance=None)
    yield (
        'pm.sample(method="amortized")',
        lambda: pm.sample(
            draws=100, method="amortized", model=ordered, training=config, **OPTIONS, **rule
        ),
    )
    posterior = pma.fit(ordered, training=config, **OPTIONS)
    yield "posterior.sample", lambda: posterior.sample(draws=100, random_seed=1, **rule)
    sets = [{"y": data() + shift} for shift in (0.0, 0.1, 0.2)]
    yield (
        "posterior.sample_many",
        lambda: posterior.sample_many(sets, draws=100, random_seed=1, progressbar=False, **rule),
    )
    model = mixture()
    config = pma.TrainingConfig(steps=20, batch_size=64, num_validation=64, tolerance=None)
    unordered = pma.fit(model, training=config, **OPTIONS)
    idata = unordered.sample(draws=100, labels="symmetric", random_seed=1)
    yield "pma.relabel", lambda: pma.relabel(idata, component_dim="component", model=model)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--confirm", action="store_true")
    confirm = parser.parse_args().confirm
    warnings.simplefilter("ignore")
    logging.getLogger("pymc_amortized").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    sys.stdout.write(
        f"{'way':32}{'changes of room':>16}{'pairs of functions':>20}{'pairs of rooms':>16}\n"
    )
    total = Counter()
    for name, go in ways(confirm):
        with follow() as calls:
            go()
        pairs = {(a, b) for a, _, b, _ in calls}
        row = {"changes": sum(calls.values()), "functions": len(calls), "rooms": len(pairs)}
        total.update(row)
        sys.stdout.write(f"{name:32}{row['changes']:16,}{row['functions']:20,}{row['rooms']:16,}\n")
    sys.stdout.write(
        f"{'all':32}{total['changes']:16,}{total['functions']:20,}{total['rooms']:16,}\n"
    )


if __name__ == "__main__":
    main()
