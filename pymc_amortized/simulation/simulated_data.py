"""Simulated data sets, with what they were made from."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.errors import NonFiniteSimulationError

__all__ = ["Simulation", "check_finite"]


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

    def __repr__(self) -> str:
        def shapes(tensors: Mapping[str, Tensor]) -> str:
            return ", ".join(f"{name} {tuple(x.shape)}" for name, x in tensors.items()) or "none"

        return (
            f"Simulation of {len(self)} data sets\n"
            f"  parameters:   {shapes(self.parameters)}\n"
            f"  indicators:   {shapes(self.indicators)}\n"
            f"  observations: {shapes(self.observations)}"
        )


def check_finite(simulation: Simulation) -> None:
    """Refuse simulations that networks cannot learn from.

    Raises
    ------
    NonFiniteSimulationError
        If a value is NaN or infinite.
    """
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
