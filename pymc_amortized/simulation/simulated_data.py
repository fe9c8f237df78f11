"""Simulated data sets, with what they were made from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.errors import InvalidDataError, NonFiniteSimulationError

__all__ = ["FEWEST_SIMULATIONS", "Simulation", "check_finite"]

FEWEST_SIMULATIONS = 100
"""Of a table that networks are trained on."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """B data sets, with what they were made from.

    Attributes
    ----------
    parameters : dict of str to Tensor, shape (B, *shape)
        Constrained parameters.
    indicators : dict of str to Tensor of int64, shape (B, *units)
        Indicators.
    observations : dict of str to Tensor, shape (B, *units, *event)
        Whole data sets: values that the observed data lack are simulated too, and are marked in
        ``simulator.spec``.
    """

    parameters: dict[str, Tensor]
    indicators: dict[str, Tensor]
    observations: dict[str, Tensor]

    def __len__(self) -> int:
        return next(iter(self.observations.values())).shape[0]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, by name."""
        every = self.parameters | self.indicators | self.observations
        return {name: x.cpu().numpy() for name, x in every.items()}

    def __repr__(self) -> str:
        def shapes(tensors: Mapping[str, Tensor]) -> str:
            return ", ".join(f"{name} {tuple(x.shape)}" for name, x in tensors.items()) or "none"

        return (
            f"Simulation of {len(self)} data sets\n"
            f"  parameters:   {shapes(self.parameters)}\n"
            f"  indicators:   {shapes(self.indicators)}\n"
            f"  observations: {shapes(self.observations)}"
        )


def check_finite(simulation: Simulation, covariates: Mapping[str, np.ndarray]) -> None:
    """Refuse simulations that networks cannot learn from.

    Raises
    ------
    NonFiniteSimulationError
        If a value is NaN or infinite.
    InvalidDataError
        If that may be because a covariate is.
    """
    try:
        _require_finite(simulation)
    except NonFiniteSimulationError as error:
        _require_finite_covariates(covariates, error)
        raise


def _require_finite_covariates(
    covariates: Mapping[str, np.ndarray], error: NonFiniteSimulationError
) -> None:
    for name, values in covariates.items():
        bad = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(1, dtype=bool)
        if bad.any():
            raise InvalidDataError(
                f"Expected finite values for {name!r}; {int(bad.sum())} of {values.size} are NaN "
                f"or infinite, first at {tuple(map(int, np.argwhere(bad)[0]))}, and so are "
                f"simulations of {error.variable!r}. Leave them out, or replace them."
            ) from error


def _require_finite(simulation: Simulation) -> None:
    everything = {**simulation.parameters, **simulation.observations}
    for name, tensor in everything.items():
        if not tensor.dtype.is_floating_point:
            continue
        bad = ~torch.isfinite(tensor).reshape(tensor.shape[0], -1).all(1)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            parameters = {k: v[first].cpu().numpy() for k, v in simulation.parameters.items()}
            raise NonFiniteSimulationError(
                f"Expected finite simulations; {name!r} is NaN or infinite in {int(bad.sum())} of "
                f"{tensor.shape[0]} data sets, first for the parameters {parameters}. A likelihood "
                "cannot be learned from them. Keep the prior away from such values, for instance "
                "by a prior with lighter tails, or by a constraint:\n\n"
                '    pm.Potential("finite", pt.switch(condition, 0, -np.inf))',
                variable=name,
                parameters=parameters,
            )
