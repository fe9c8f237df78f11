"""A budget of simulations, drawn before training, and kept until the network is there."""

import time

import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.messages import PeriodicLog, log_info
from pymc_amortized.rng import piece_seed
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.simulations import AbstractSimulations
from pymc_amortized.training.network_cache import NetworkCache

__all__ = ["draw_table", "kept_seed"]

_KIND = "simulations"
_AT_ONCE = 250
_SECONDS_BETWEEN_COPIES = 30.0


def kept_seed(store: NetworkCache, fingerprint: str) -> int | None:
    """Return the seed of a table that an earlier run has begun to draw; None if there is none."""
    found = store.read(fingerprint, _KIND)
    return None if found is None else int(found[1]["seed"])


def draw_table(
    source: AbstractSimulations,
    number: int,
    seed: int,
    store: NetworkCache,
    fingerprint: str,
    *,
    keep: bool = False,
) -> SimulationTable:
    """Draw a table of simulations, from where an earlier run was killed.

    Where simulations are slow, what is drawn is kept every half minute, and the log says how far it
    is.

    Parameters
    ----------
    source : AbstractSimulations
        Of new data sets.
    number : int
        How many.
    seed : int
        Of the training.
    store : NetworkCache
        Where networks are kept.
    fingerprint : str
        Of the network.
    keep : bool
        Whether the table is kept however fast it was drawn.
    """
    found = store.read(fingerprint, _KIND)
    parts = [] if found is None else [_table_of(source, found[0])]
    done, log, began = sum(p.num_available for p in parts), PeriodicLog(), time.perf_counter()
    if done:
        log_info(f"{done:,} of {number:,} simulations are there from an earlier run.")
    first, last_kept, is_slow = done, began, keep and done < number
    try:
        while done < number:
            size = min(_AT_ONCE, number - done)
            drawn = source.draw_frames(size, piece_seed(seed, 3, done))
            parts.append(SimulationTable(source, *drawn))
            done, now = done + size, time.perf_counter()
            log.tell(
                f"{done:,} of {number:,} simulations",
                (number - done) * (now - began) / (done - first),
            )
            if now - last_kept > _SECONDS_BETWEEN_COPIES:
                is_slow, last_kept = True, now
                parts = [_keep(parts, seed, store, fingerprint)]
    except BaseException:
        if parts:
            _keep(parts, seed, store, fingerprint)
        raise
    return _keep(parts, seed, store, fingerprint) if is_slow else SimulationTable.joined(parts)


def _keep(
    parts: list[SimulationTable], seed: int, store: NetworkCache, fingerprint: str
) -> SimulationTable:
    table = SimulationTable.joined(parts)
    tensors = {f"parameters.{name}": x for name, x in table.parameters.items()}
    tensors |= {f"observations.{name}": x for name, x in table.frames.observations.items()}
    tensors |= {f"selected.{i}": x for i, x in enumerate(table.frames.selected)}
    tensors |= {f"codes.{i}": x for i, x in table.codes.items()}
    if table.frames.times is not None:
        tensors["times"] = table.frames.times
    store.write(fingerprint, tensors, {"seed": seed}, _KIND)
    return table


def _table_of(source: AbstractSimulations, tensors: dict[str, Tensor]) -> SimulationTable:
    device: torch.device = source.simulator.device

    def part(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): x.to(device)
            for name, x in tensors.items()
            if name.startswith(prefix)
        }

    selected = part("selected.")
    frames = Frames(
        part("observations."),
        {},
        tuple(selected[str(i)] for i in range(len(selected))),
        part("times").get(""),
    )
    codes = {int(i): x for i, x in part("codes.").items()}
    return SimulationTable(source, part("parameters."), frames, codes)
