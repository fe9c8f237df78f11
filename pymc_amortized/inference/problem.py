"""A model, how its data are laid out, and its density: what is known without a network."""

import functools
import math

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset, read_dataset
from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import InvalidDataError
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.simulation.simulator import Simulator

if TYPE_CHECKING:
    from pymc_amortized.networks.estimator import Estimator

__all__ = ["ModelInference"]


class ModelInference:
    """What a model says of data sets, without a network.

    Parameters
    ----------
    simulator : Simulator
        The model.
    layout : DataLayout
        How data sets are laid out.
    space : ParameterSpace
        Its parameters.

    Attributes
    ----------
    exact : ExactModel or None
        The density, if there is one.
    estimator : Estimator or None
        Networks: None here.
    """

    estimator: "Estimator | None" = None
    _atoms: Mapping[str, np.ndarray] | None = None

    def __init__(self, simulator: Simulator, layout: DataLayout, space: ParameterSpace) -> None:
        self.simulator = simulator
        self.layout = layout
        self.space = space
        density = simulator.density
        self.exact = None if density is None else ExactModel(density, layout)
        self.device = simulator.device

    def read(self, data: Mapping[str, Any] | None, *, any_size: bool = False) -> Dataset:
        """Check a user's data, and lay them out; None stands for those of the model.

        Of any size they can be read only for what needs no network that was trained for it.
        """
        self._require_unchanged(data)
        observed = self.simulator.observed_data
        return read_dataset(self.layout, observed, data, self._atoms, any_size=any_size)

    def _require_unchanged(self, data: Mapping[str, Any] | None) -> None:
        """Refuse to answer for data that the model no longer holds."""
        spec = self.simulator.spec
        conditions = {c.name for c in spec.covariates}
        changed = self.simulator.changed_data
        if data is not None:
            changed = tuple(name for name in changed if name in conditions and name not in data)
        if not changed:
            return
        names = [o.name for o in spec.observations] + [n for n in changed if n in conditions]
        given = ", ".join(f'"{name}": ...' for name in names)
        raise InvalidDataError(
            f"Expected the data that the model held when it was read; {list(changed)} have been "
            "changed since, by pm.set_data. Read the model again (a network that fits is found in "
            "the cache), or give the data by name:\n\n"
            f"    posterior = pma.fit(model)\n    posterior.sample({{{given}}})"
        )

    @torch.no_grad()
    def log_joint(self, vector: Tensor, frames: Frames) -> Tensor:
        """Return log p(θ, y) (S, B) in nats, over unconstrained parameters; -inf for NaN."""
        shape, flat = vector.shape[:2], vector.flatten(0, 1)
        log_marginal = self.exact.log_marginal(self.constrained(flat, shape), frames)
        log_prior = self.exact.density.log_prior(self.space.split(flat)).unflatten(0, shape)
        return (log_prior + log_marginal).nan_to_num(
            nan=-math.inf, posinf=-math.inf, neginf=-math.inf
        )

    @functools.cached_property
    def log_prior_mass(self) -> tuple[float, float]:
        """Log probability of the region of the prior, in nats, and its standard error."""
        return self.simulator.log_prior_mass()

    def constrained(self, vector: Tensor, shape: torch.Size) -> dict[str, Tensor]:
        """Return parameters (*shape, ...) by name for unconstrained vectors (S, D)."""
        return {name: x.unflatten(0, shape) for name, x in self.space.constrain(vector).items()}
