"""The No-U-Turn sampler of nutpie, or of PyMC: compiled once, run for one data set or another."""

import dataclasses

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pymc as pm

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.inference.watch import OutOfTimeError, Watch
from pymc_amortized.model.density.marginal import MarginalModel

__all__ = ["NutsSampler", "nuts_sampler"]

_TARGET_ACCEPT = 0.9
_SECONDS_BETWEEN_LOOKS = 0.2


class NutsSampler(Protocol):
    """Runs chains of a model whose data are shared variables.

    Attributes
    ----------
    name : {"nutpie", "pymc"}
        What draws.
    """

    name: str

    def run(
        self,
        arrays: Mapping[str, np.ndarray],
        starts: np.ndarray,
        *,
        draws: int,
        tune: int,
        seeds: list[int],
        watch: Watch,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return draws (chains, draws, D), and which diverge (chains, draws).

        Raises
        ------
        UnsupportedModelError
            If the density or its gradient is not finite where a chain starts.
        OutOfTimeError
            If time is out before chains are done.
        """
        ...


class _NutpieSampler:
    """Chains in nutpie, all at the same time: one sampler each, so that each has its own start."""

    name = "nutpie"

    def __init__(self, model: MarginalModel) -> None:
        import nutpie

        self._sample = nutpie.sample
        self._compiled = nutpie.compile_pymc_model(model.model)

    def run(
        self,
        arrays: Mapping[str, np.ndarray],
        starts: np.ndarray,
        *,
        draws: int,
        tune: int,
        seeds: list[int],
        watch: Watch,
    ) -> tuple[np.ndarray, np.ndarray]:
        compiled = self._compiled.with_data(**arrays)
        chains = [
            self._sample(
                dataclasses.replace(compiled, initial_point_func=_always(start)),
                draws=draws,
                tune=tune,
                chains=1,
                cores=1,
                seed=seed,
                target_accept=_TARGET_ACCEPT,
                progress_bar=False,
                return_raw_trace=True,
                blocking=False,
            )
            for start, seed in zip(starts, seeds, strict=True)
        ]
        try:
            raw = [_wait_for(chain, watch) for chain in chains]
        except RuntimeError as error:
            raise _bad_start(str(error)) from error
        except (OutOfTimeError, KeyboardInterrupt):
            for chain in chains:
                chain.cancel()
            raise
        results = [_read_arrow(*trace.get_arrow_trace(), draws) for trace in raw]
        return np.stack([u for u, _ in results]), np.stack([bad for _, bad in results])


class _PymcSampler:
    """Chains in PyMC, one after the other, by the step method that ``pm.sample`` uses.

    To call ``pm.sample`` itself would be to compile for every data set anew.
    """

    name = "pymc"

    def __init__(self, model: MarginalModel) -> None:
        self._model = model
        self._function = model.model.logp_dlogp_function(ravel_inputs=True)
        self._function.trust_input = True

    def run(
        self,
        arrays: Mapping[str, np.ndarray],
        starts: np.ndarray,
        *,
        draws: int,
        tune: int,
        seeds: list[int],
        watch: Watch,
    ) -> tuple[np.ndarray, np.ndarray]:
        self._model.set_data(arrays)
        try:
            results = [
                self._chain(start, draws, tune, seed, watch)
                for start, seed in zip(starts, seeds, strict=True)
            ]
        except pm.exceptions.SamplingError as error:
            raise _bad_start(str(error)) from error
        return np.stack([u for u, _ in results]), np.stack([bad for _, bad in results])

    def _chain(
        self, start: np.ndarray, draws: int, tune: int, seed: int, watch: Watch
    ) -> tuple[np.ndarray, np.ndarray]:
        point = {"u": start}
        step = pm.NUTS(
            model=self._model.model,
            logp_dlogp_func=self._function,
            target_accept=_TARGET_ACCEPT,
            initial_point=point,
            rng=seed,
        )
        vectors, diverging = [], []
        for i in range(tune + draws):
            watch.check()
            if i == tune:
                step.stop_tuning()
            point, [stats] = step.step(point)
            vectors.append(point["u"])
            diverging.append(bool(stats["diverging"]))
        return np.stack(vectors[tune:]), np.array(diverging[tune:])


def nuts_sampler(model: MarginalModel) -> NutsSampler:
    """Compile for nutpie; for PyMC where nutpie is not installed, or cannot compile the model."""
    try:
        return _NutpieSampler(model)
    except Exception:
        # Numba refuses what it cannot compile by errors of any kind. Should the model be at fault,
        # PyMC will say so.
        pass
    return _PymcSampler(model)


def _wait_for(chain: Any, watch: Watch) -> Any:
    """Return the raw trace of a chain once it is there."""
    while True:
        watch.check()
        try:
            return chain.wait(timeout=_SECONDS_BETWEEN_LOOKS)
        except TimeoutError:
            continue


def _always(start: np.ndarray) -> "object":
    def initial_point(seed: int | None = None) -> np.ndarray:
        return start.copy()

    return initial_point


def _read_arrow(draws: list, stats: list, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the last draws (draws, D) of a chain, and which diverge (draws,)."""
    vectors = [row for batch in draws for row in batch.column("u").to_pylist()]
    diverging = [bad for batch in stats for bad in batch.column("diverging").to_pylist()]
    return np.array(vectors[-number:]), np.array(diverging[-number:])


def _bad_start(message: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "Expected the log density and its gradient to be finite where chains start; they are not "
        f"({message.strip().splitlines()[0]}). Look for data that the model cannot produce, and "
        "for parameters at the edge of their support:\n\n    pm.sample(model=model)"
    )
