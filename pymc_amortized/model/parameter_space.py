"""Named variables to and from one unconstrained vector."""

import math

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from torch import Tensor

from pymc_amortized.errors import NonFiniteSimulationError, ParameterShapeError
from pymc_amortized.model.bijections import Bijections
from pymc_amortized.model.normal_scores import NormalScores, fit_normal_scores
from pymc_amortized.model.spec import ParameterSpec
from pymc_amortized.typing import NamedTensors

__all__ = ["ParameterSpace"]

_MAX_AT_EDGE = 0.9
_EDGE_SCORE = 4.0


@dataclass(frozen=True, slots=True)
class ParameterSpace:
    """The parameters of a model as one vector, in PyMC's unconstrained space.

    Parameters
    ----------
    specs : tuple of ParameterSpec
        The parameters, in the order of the model, which is that of the vector.
    bijections : Bijections
        Their transforms.
    normal_scores : NormalScores or None
        The map under which prior draws are standard normal in each coordinate, once fitted.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     sigma = pm.HalfNormal("sigma", 1)
    ...     y = pm.Normal("y", 0, sigma, observed=[0.0, 1.0])
    >>> space = pma.compile_simulator(model).parameters
    >>> space.unconstrain({"sigma": torch.ones(3, dtype=torch.float64)})
    tensor([[0.],
            [0.],
            [0.]], dtype=torch.float64)
    """

    specs: tuple[ParameterSpec, ...]
    bijections: Bijections
    normal_scores: NormalScores | None = None

    @property
    def size(self) -> int:
        """D, the number of unconstrained coordinates."""
        return sum(self._sizes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(spec.name for spec in self.specs)

    @property
    def coordinate_names(self) -> tuple[str, ...]:
        """A name for each coordinate of the vector, such as ``mu[1]``."""
        names = []
        for spec in self.specs:
            shape = spec.unconstrained_shape
            indices = torch.cartesian_prod(*(torch.arange(n) for n in shape)) if shape else None
            if indices is None:
                names.append(spec.name)
            else:
                rows = indices.reshape(-1, len(shape)).tolist()
                names += [f"{spec.name}[{', '.join(map(str, row))}]" for row in rows]
        return tuple(names)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Separate a vector into unconstrained parameters.

        Parameters
        ----------
        vector : Tensor, shape (S, D)
            Unconstrained coordinates.

        Returns
        -------
        dict of str to Tensor, shape (S, *unconstrained shape)
            By name.

        Raises
        ------
        ParameterShapeError
            If the last axis is not D long.
        """
        if vector.ndim != 2 or vector.shape[1] != self.size:
            raise ParameterShapeError(
                f"Expected unconstrained parameters of shape (draws, {self.size}); got "
                f"{tuple(vector.shape)}."
            )
        parts = vector.split(self._sizes, dim=1)
        return {
            spec.name: part.reshape(part.shape[0], *spec.unconstrained_shape)
            for spec, part in zip(self.specs, parts, strict=True)
        }

    def join(self, unconstrained: NamedTensors) -> Tensor:
        """Put unconstrained parameters (S, *unconstrained shape) into a vector (S, D).

        A model without parameters has a vector of shape (1, 0).
        """
        if not self.specs:
            return torch.zeros(1, 0, dtype=torch.float64)
        parts = [unconstrained[name] for name in self.names]
        return torch.cat(
            [part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts], dim=1
        )

    def constrain(self, vector: Tensor) -> dict[str, Tensor]:
        """Map a vector (S, D) to parameters (S, *shape) by name, by PyMC's own transforms."""
        return self.bijections.backward(self.split(vector))

    def unconstrain(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Map parameters (S, *shape) by name to a vector (S, D).

        Raises
        ------
        ParameterShapeError
            If a parameter is missing or has another shape than the model's.
        """
        values = {spec.name: self._check_parameter(spec, parameters) for spec in self.specs}
        return self.join(self.bijections.forward(values))

    def unconstrain_within(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Map parameters by name to a vector (S, D), and tell which lie in their support (S,).

        Vectors of those outside are zero.

        Raises
        ------
        ParameterShapeError
            If a parameter is missing, unknown, of another shape than the model's, or if there are
            not as many draws of each.
        """
        unknown = [name for name in parameters if name not in self.names]
        lengths = {name: len(x) for name, x in parameters.items() if x.ndim}
        if unknown or len(set(lengths.values())) > 1:
            raise ParameterShapeError(
                f"Expected as many draws of each of {list(self.names)}; got {lengths or unknown}."
            )
        vector = self.unconstrain(parameters)
        again = self.constrain(vector.nan_to_num())
        inside = torch.isfinite(vector).all(1)
        for name, value in again.items():
            close = torch.isclose(value, parameters[name].to(value.dtype), rtol=1e-6, atol=1e-8)
            inside = inside & close.reshape(len(close), -1).all(1)
        return vector.masked_fill(~inside.unsqueeze(1), 0.0), inside

    def with_normal_scores(self, parameters: Mapping[str, Tensor]) -> "ParameterSpace":
        """Return this space with the normal-score map fitted to prior draws.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Draws of the prior, at least 100; 10,000 give scores to two digits.

        Raises
        ------
        NonFiniteSimulationError
            If more than 9 of 10 draws of a parameter lie at the very edge of their support, where
            they have no unconstrained value. Fewer are taken for the outermost that have one.
        """
        vector = self.unconstrain(parameters)
        infinite = ~torch.isfinite(vector)
        at_edge = infinite.double().mean(0)
        if bool((at_edge > _MAX_AT_EDGE).any()):
            column = int((at_edge > _MAX_AT_EDGE).nonzero()[0])
            name = self.coordinate_names[column]
            raise NonFiniteSimulationError(
                f"Expected prior draws inside of their support; most of {name} lie at its edge, to "
                "machine precision, and have no finite unconstrained value. Use a prior with less "
                f'mass there, such as:\n\n    pm.Beta("{name.partition("[")[0]}", 0.5, 0.5)',
                variable=name,
                parameters={},
            )
        lowest = vector.masked_fill(infinite, torch.inf).amin(0)
        highest = vector.masked_fill(infinite, -torch.inf).amax(0)
        finite = torch.where(infinite, torch.where(vector > 0, highest, lowest), vector)
        return replace(self, normal_scores=fit_normal_scores(finite))

    def from_edge(self, vector: Tensor) -> Tensor:
        """Move infinite coordinates of a vector (S, D) to normal scores of -4 and 4; NaN to -4.

        Prior draws at the very edge of their support, such as a weight that rounds to 1, have no
        finite unconstrained value, but data sets that networks can learn from. Two of them next to
        each other in order have a gap that is none.
        """
        infinite = ~torch.isfinite(vector)
        if not bool(infinite.any()):
            return vector
        ends = vector.new_tensor([[-_EDGE_SCORE], [_EDGE_SCORE]]).expand(2, self.size)
        low, high = self.unstandardize(ends)[0]
        return torch.where(infinite, torch.where(vector > 0, high, low), vector)

    def standardize(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Map a vector (S, D) to normal scores (S, D), with the log determinant (S,)."""
        return self._require_normal_scores().forward(vector)

    def unstandardize(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map normal scores (S, D) to a vector (S, D), with the log determinant (S,)."""
        return self._require_normal_scores().inverse(scores)

    @property
    def num_features(self) -> int:
        """P, the length of :meth:`features`."""
        return 2 * self.size + sum(math.prod(spec.shape) for spec in self.specs)

    def features(self, vector: Tensor, parameters: NamedTensors) -> Tensor:
        """Describe parameters in both spaces, as networks are given them.

        Parameters
        ----------
        vector : Tensor, shape (S, D)
            Unconstrained coordinates.
        parameters : mapping of str to Tensor, shape (S, *shape)
            The same, constrained.

        Returns
        -------
        Tensor, shape (S, P)
            Normal scores, unconstrained coordinates, constrained values.
        """
        if not self.specs:
            return vector
        scores, _ = self.standardize(vector)
        constrained = [parameters[name].double().reshape(len(vector), -1) for name in self.names]
        return torch.cat([scores, vector, *constrained], dim=-1)

    @property
    def _sizes(self) -> list[int]:
        return [math.prod(spec.unconstrained_shape) for spec in self.specs]

    def _require_normal_scores(self) -> NormalScores:
        if self.normal_scores is None:
            raise ParameterShapeError(
                "Expected the normal-score map to be fitted; it is not. Fit it to prior draws:\n\n"
                "    space = space.with_normal_scores(simulator.sample(10_000).parameters)"
            )
        return self.normal_scores

    @staticmethod
    def _check_parameter(spec: ParameterSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        if spec.name not in parameters:
            raise ParameterShapeError(
                f"Expected a value for the parameter {spec.name!r}; got {sorted(parameters)}."
            )
        value = parameters[spec.name]
        if tuple(value.shape[1:]) != spec.shape:
            raise ParameterShapeError(
                f"Expected {spec.name!r} of shape (draws, *{spec.shape}); got {tuple(value.shape)}."
            )
        return value
