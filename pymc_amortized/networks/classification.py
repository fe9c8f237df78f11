"""The classification network of independent indicators."""

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractClassificationNetwork, Units, UnitShape
from pymc_amortized.networks.deep_set import second_order
from pymc_amortized.networks.layers import Perceptron, pool_by_owner

__all__ = ["UnitClassifier"]


class UnitClassifier(AbstractClassificationNetwork):
    """Log probabilities of each unit's indicator, from its own rows and the parameters.

    Given the parameters, other units say nothing about an indicator that is independent of theirs,
    so that no summary of the data set is needed. Logits are the sum of a linear function of the
    features and their products, whose coefficients depend on the parameters (exact for normal
    components, and for the whole exponential family with such statistics), and of a perceptron.

    Parameters
    ----------
    shape : UnitShape
        Of the units.
    num_parameters : int
        D.
    width : int
        Of the hidden layers.
    """

    def __init__(self, shape: UnitShape, num_parameters: int, width: int = 64) -> None:
        super().__init__()
        self.out_shape = (shape.num_indicators, shape.num_components)
        self.num_units = shape.num_units
        owner = None if shape.owner is None else torch.as_tensor(shape.owner)
        self.register_buffer("owner", owner, persistent=False)
        num_inputs = second_order(torch.zeros(shape.num_features)).numel()
        if owner is not None:
            self.row = Perceptron(num_inputs, width, width, 1)
            num_inputs += width + 1
        num_logits = shape.num_indicators * shape.num_components
        self.coefficients = Perceptron(
            max(1, num_parameters), (num_inputs + 1) * num_logits, 2 * width, 2
        )
        self.shift = Perceptron(max(1, num_parameters), 2 * width, 2 * width, 1)
        self.features = nn.Linear(num_inputs, width)
        self.hidden = nn.Linear(width, width)
        self.logits = nn.Linear(width, num_logits)

    def forward(self, units: Units, scores: Tensor) -> Tensor:
        """Return log probabilities (B, N, J, K), given units and scores (B, D)."""
        features = second_order(units.values)
        if self.owner is not None:
            rows = torch.cat([self.row(features), features], dim=-1)
            features = pool_by_owner(rows, units.mask, self.owner, self.num_units)
        if scores.shape[-1] == 0:
            scores = scores.new_zeros(*scores.shape[:-1], 1)
        coefficients = self.coefficients(scores).unflatten(-1, (features.shape[-1] + 1, -1))
        linear = features @ coefficients[:, 1:] + coefficients[:, :1]  # (B, N, J K)
        scale, shift = self.shift(scores).unsqueeze(1).chunk(2, dim=-1)
        hidden = F.silu(self.features(features) * (1 + scale) + shift)
        hidden = hidden + F.silu(self.hidden(hidden))
        logits = linear + self.logits(hidden)
        return logits.unflatten(-1, self.out_shape).log_softmax(-1)
