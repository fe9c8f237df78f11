"""The classification network of independent indicators."""

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractClassificationNetwork
from pymc_amortized.networks.layers import Perceptron, pool_by_owner
from pymc_amortized.networks.summary.deep_set import second_order
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["UnitClassifier"]

_MAX_RESIDUALS = 4
_MAX_LOG_SCALE = 8.0


class _OfParameters(nn.Module):
    """A function of the parameters (B, P): linear, plus a perceptron that starts at zero."""

    def __init__(self, num_parameters: int, num_outputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_parameters, num_outputs)
        self.perceptron = Perceptron(num_parameters, num_outputs, width, 1)
        nn.init.zeros_(self.perceptron.last.weight)
        nn.init.zeros_(self.perceptron.last.bias)

    def forward(self, parameters: Tensor) -> Tensor:
        """Map (B, P) to (B, num_outputs)."""
        return self.linear(parameters) + self.perceptron(parameters)


class _Logits(nn.Module):
    """A function of features (B, N, F) and parameters (B, P), whose form suits log densities."""

    def __init__(
        self, num_features: int, num_inputs: int, num_logits: int, num_parameters: int, width: int
    ) -> None:
        super().__init__()
        self.coefficients = _OfParameters(num_parameters, (num_inputs + 1) * num_logits, 2 * width)
        self.num_features = num_features
        self.num_residuals = min(self.num_features, _MAX_RESIDUALS)
        if num_features:
            self.residuals = _OfParameters(
                num_parameters,
                (self.num_features + 1) * self.num_residuals * num_logits,
                2 * width,
            )
            self.log_scales = _OfParameters(num_parameters, num_logits, width)
        self.film = Perceptron(num_parameters, 2 * width, 2 * width, 1)
        self.features = nn.Linear(num_inputs, width)
        self.hidden = nn.Linear(width, width)
        self.logits = nn.Linear(width, num_logits)

    def evaluate(self, values: Tensor, features: Tensor, parameters: Tensor) -> Tensor:
        """Return logits (B, N, J K) of values, with their products, and parameters (B, P)."""
        logits = self._quadratic(values, parameters) if self.num_features else 0.0
        coefficients = self.coefficients(parameters).unflatten(-1, (features.shape[-1] + 1, -1))
        logits = logits + features @ coefficients[:, 1:] + coefficients[:, :1]
        scale, shift = self.film(parameters).unsqueeze(1).chunk(2, dim=-1)
        hidden = F.silu(self.features(features) * (1 + scale) + shift)
        hidden = hidden + F.silu(self.hidden(hidden))
        return logits + self.logits(hidden)

    def _quadratic(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Half the squared length of the residuals of each component, negative: (B, N, J K)."""
        log_scale = _MAX_LOG_SCALE * torch.tanh(self.log_scales(parameters) / _MAX_LOG_SCALE)
        weights = self.residuals(parameters).unflatten(-1, (self.num_features + 1, -1))
        residuals = values @ weights[:, 1:] + weights[:, :1]
        squares = residuals.unflatten(-1, (-1, self.num_residuals)).square().sum(-1)
        return -0.5 * squares * (2 * log_scale).exp().unsqueeze(1) + log_scale.unsqueeze(1)


class UnitClassifier(_Logits, AbstractClassificationNetwork):
    r"""Log probabilities of each unit's indicator, from its own rows and the parameters.

    Given the parameters, other units say nothing about an indicator that is independent of theirs,
    so that no summary of the data set is needed. The logit of component k is a sum of three terms,

    .. math:: a_k(\theta)^\top t(x) - \tfrac12 \lVert e^{s_k(\theta)} C_k(\theta) (1, x) \rVert^2
              + f_k(x, \theta),

    where x are the features of the unit, t(x) these and their products, and f a perceptron. The
    first is exact for exponential families with such statistics, the second for normal components
    and regressions, however narrow, because parameters enter in the form in which a, s and C are
    linear; the third is for the rest. Of a unit with several rows, the logits of rows are summed,
    as log densities of independent values are, and a function of what all rows show together is
    added.

    Parameters
    ----------
    shape : UnitShape
        Of the units.
    num_parameters : int
        P, the features of parameters.
    width : int
        Of the hidden layers.
    """

    def __init__(self, shape: UnitShape, num_parameters: int, width: int = 64) -> None:
        num_inputs = second_order(torch.zeros(shape.num_features)).numel()
        num_logits = shape.num_indicators * shape.num_components
        num_parameters = max(1, num_parameters)
        super().__init__(shape.num_features, num_inputs, num_logits, num_parameters, width)
        self.out_shape = (shape.num_indicators, shape.num_components)
        self.num_units = shape.num_units
        owner = None if shape.owner is None else torch.as_tensor(shape.owner)
        self.register_buffer("owner", owner, persistent=False)
        if owner is not None:
            pooled = num_inputs + width + 1
            self.row = Perceptron(num_inputs, width, width, 1)
            self.of_units = _Logits(0, pooled, num_logits, num_parameters, width)

    def forward(self, units: Units, parameters: Tensor) -> Tensor:
        """Return log probabilities (B, N, J, K), given units and parameters (B, P)."""
        if parameters.shape[-1] == 0:
            parameters = parameters.new_zeros(*parameters.shape[:-1], 1)
        features = second_order(units.values)
        logits = self.evaluate(units.values, features, parameters)
        if self.owner is not None:
            rows = torch.cat([self.row(features), features], dim=-1)
            pooled = pool_by_owner(rows, units.mask, self.owner, self.num_units)
            means = pool_by_owner(logits, units.mask, self.owner, self.num_units)
            sums = means[..., :-1] * means[..., -1:].expm1()
            logits = sums + self.of_units.evaluate(pooled, pooled, parameters)
        return logits.unflatten(-1, self.out_shape).log_softmax(-1)
