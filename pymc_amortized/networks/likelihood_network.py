"""The density of one distribution given its arguments, learned from draws of it."""

import itertools
import math

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F

from torch import Tensor, nn

__all__ = [
    "ASINH",
    "FURTHEST",
    "INFINITE",
    "LINEAR",
    "LOG",
    "LOG_SCALES",
    "RAW",
    "SMALLEST",
    "LikelihoodNetwork",
]

LINEAR, LOG, ASINH = 0.0, 1.0, 2.0
"""Maps of values to a common scale."""
LOG_SCALES = (-9.0, 3.0)
"""Least and largest logarithm of a scale of a mixture."""
RAW = 0.5
"""What is added to a unit before it becomes such a logarithm."""
FURTHEST = 12.0
"""Scaled values beyond are as good as these to mixtures of values after them."""
INFINITE = 1e9
"""Where the mass of the least, or the greatest, discrete value ends."""
SMALLEST = 1e-300
"""Positive number whose logarithm stands for those of numbers that have none."""

_MOST_SCALED = 100_000
_LONG_TAILS = 3.0  # excess kurtosis
_RIDGE = 1e-3
_SHARE_AT_BOUND = 1e-3


class LikelihoodNetwork(nn.Module):
    """q(x given arguments): autoregressive mixtures of logistic distributions.

    Each value has a mixture whose parameters are functions of the arguments, and of the values
    before it, by one masked perceptron with a linear map beside it [1]_. Values are brought to a
    common scale before: by a linear map, or, where their tails are long, by logarithms if all are
    positive and these are less skewed, or by inverse hyperbolic sines, which leave the middle as it
    is. Of discrete values, what is learned is the mass between x − ½ and x + ½.

    Parameters
    ----------
    num_arguments, num_values : int
        A, and P, of one draw of the distribution.
    is_discrete : bool
        Whether values are whole numbers.
    width : int, optional
        Of hidden layers. Default: 32 of a single value, which is evaluated for every unit in every
        state, and 64 of several.
    num_hidden : int, optional
        How many residual layers follow the first one. Default: 1, or 2.
    num_components : int
        Of each mixture.

    References
    ----------
    .. [1] Germain, M., Gregor, K., Murray, I. & Larochelle, H. (2015). MADE: Masked autoencoder for
       distribution estimation. ICML.

    Examples
    --------
    >>> network = LikelihoodNetwork(num_arguments=2, num_values=1)
    >>> arguments, values = torch.randn(100, 2), torch.randn(100, 1)
    >>> network.fit_scaling(arguments, values)
    >>> network.log_prob(arguments, values).shape
    torch.Size([100])
    """

    def __init__(
        self,
        num_arguments: int,
        num_values: int,
        *,
        is_discrete: bool = False,
        width: int | None = None,
        num_hidden: int | None = None,
        num_components: int = 8,
    ) -> None:
        super().__init__()
        default_width, default_hidden = (32, 1) if num_values == 1 else (64, 2)
        width = default_width if width is None else width
        num_hidden = default_hidden if num_hidden is None else num_hidden
        self.num_arguments, self.num_values = num_arguments, num_values
        self.num_components, self.num_hidden = num_components, num_hidden
        num_inputs, num_outputs = num_arguments + num_values, 3 * num_components * num_values
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        masks = _masks(num_arguments, num_values, width, num_hidden, 3 * num_components)
        sizes = [(num_inputs, width), *[(width, width)] * num_hidden, (width, num_outputs)]
        for (before, after), mask in zip(sizes, masks, strict=False):
            seen = mask.sum(0).clamp(min=1)  # inputs of each unit
            self.weights.append(nn.Parameter(torch.randn(before, after) / seen.sqrt()))
            self.biases.append(nn.Parameter(torch.zeros(after)))
        self.beside = nn.Parameter(torch.zeros(num_inputs, num_outputs))
        with torch.no_grad():
            self.weights[-1].zero_()  # begins at the regression of :meth:`fit_scaling`
        for i, mask in enumerate(masks):
            self.register_buffer(f"mask_{i}", mask)
        self.register_buffer("is_discrete", torch.tensor(is_discrete))
        self.register_buffer("argument_scales", torch.tensor([[0.0, 1.0]] * num_arguments))
        # By value: kind of map, location and scale before it, location and scale after it, bounds.
        row = [0.0, 0.0, 1.0, 0.0, 1.0, -math.inf, math.inf]
        self.register_buffer("value_scales", torch.tensor([row] * num_values, dtype=torch.float64))

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Put a network together again from what its ``state_dict`` returned."""
        num_layers = sum(name.startswith("weights.") for name in tensors)
        num_arguments, num_values = len(tensors["argument_scales"]), len(tensors["value_scales"])
        network = cls(
            num_arguments,
            num_values,
            is_discrete=bool(tensors["is_discrete"]),
            width=tensors["weights.0"].shape[1],
            num_hidden=num_layers - 2,
            num_components=tensors["beside"].shape[1] // (3 * num_values),
        )
        network.load_state_dict(dict(tensors))
        return network.eval()

    @torch.no_grad()
    def fit_scaling(self, arguments: Tensor, values: Tensor) -> None:
        """Fit scales to draws: arguments (M, A), values (M, P)."""
        arguments, values = arguments[:_MOST_SCALED].double(), values[:_MOST_SCALED].double()
        spread = arguments.std(0)
        spread = torch.where(spread > 1e-9 * arguments.abs().amax(0), spread, torch.ones(()))
        self.argument_scales.copy_(torch.stack([arguments.mean(0), spread], dim=1))
        for d, x in enumerate(values.T):
            self.value_scales[d] = _scales_of(x, is_discrete=bool(self.is_discrete))
        self._begin_at_regression(arguments, values)

    def _begin_at_regression(self, arguments: Tensor, values: Tensor) -> None:
        """Set weights so that each value has its linear regression on what is before it."""
        known, scaled = self._standardized(arguments).double(), self._scaled(values)[0]
        inputs = torch.cat([known, scaled, torch.ones_like(scaled[:, :1])], dim=1)
        beside = self.beside.view(-1, self.num_values, 3, self.num_components)
        biases = self.biases[-1].view(self.num_values, 3, self.num_components)
        for d in range(self.num_values):
            before = [*range(self.num_arguments + d), -1]
            some = inputs[:, before]
            penalty = _RIDGE * torch.eye(some.shape[1], dtype=some.dtype, device=some.device)
            found = torch.linalg.solve(some.T @ some + penalty, some.T @ scaled[:, d])
            spread = (scaled[:, d] - some @ found).std().clamp(min=1e-3)
            beside[: self.num_arguments + d, d, 1] = found[:-1, None].to(beside.dtype)
            away = torch.linspace(-1, 1, self.num_components, device=biases.device)
            biases[d, 1] = found[-1].to(biases.dtype) + away * spread.to(biases.dtype)
            share = (torch.log(0.4 * spread) - LOG_SCALES[0]) / (LOG_SCALES[1] - LOG_SCALES[0])
            biases[d, 2] = torch.logit(share.clamp(0.01, 0.99)).to(biases.dtype) - RAW

    def log_prob(self, arguments: Tensor, values: Tensor) -> Tensor:
        """Return log q (M,) in nats of values (M, P) given arguments (M, A)."""
        known = self._standardized(arguments)
        scaled, log_slope = self._scaled(values.double())
        logits, means, log_scales = self._mixtures(known, scaled.to(known.dtype))
        weights = logits.log_softmax(-1)
        if not bool(self.is_discrete):
            z = (scaled.unsqueeze(-1).to(known.dtype) - means) * (-log_scales).exp()
            each = F.logsigmoid(z) + F.logsigmoid(-z) - log_scales
            each = (weights + each).logsumexp(-1) + log_slope.to(known.dtype)
        else:
            low, high = self._edges(values.double())
            a = (high.unsqueeze(-1).to(known.dtype) - means) * (-log_scales).exp()
            b = (low.unsqueeze(-1).to(known.dtype) - means) * (-log_scales).exp()
            width = (a - b).clamp(min=1e-12)
            each = F.logsigmoid(a) + F.logsigmoid(-b) + torch.log(-torch.expm1(-width))
            each = (weights + each).logsumexp(-1)
        return each.masked_fill(~self._inside(values), -math.inf).sum(-1)

    @torch.no_grad()
    def sample(self, arguments: Tensor, generator: torch.Generator) -> Tensor:
        """Draw values (M, P) given arguments (M, A)."""
        known = self._standardized(arguments)
        scaled = known.new_zeros(len(known), self.num_values)
        values = torch.zeros(len(known), self.num_values, dtype=torch.float64, device=known.device)
        uniform = torch.rand(
            (2, len(known), self.num_values), generator=generator, device=known.device
        ).clamp(1e-7, 1 - 1e-7)
        for d in range(self.num_values):
            logits, means, log_scales = (x[:, d] for x in self._mixtures(known, scaled))
            shares = logits.softmax(-1).cumsum(-1)
            own = (uniform[0, :, d, None] > shares[:, :-1]).sum(-1, keepdim=True)
            mean, scale = (x.gather(-1, own)[:, 0] for x in (means, log_scales.exp()))
            x = mean + scale * uniform[1, :, d].logit().to(mean.dtype)
            values[:, d] = self._unscaled(x.double(), d)
            scaled[:, d] = self._scaled(values)[0][:, d].to(scaled.dtype)
        return values

    def _standardized(self, arguments: Tensor) -> Tensor:
        location, scale = self.argument_scales.T
        return ((arguments - location) / scale).to(self.beside.dtype)

    def _mixtures(self, known: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, means and logarithms of scales, each (M, P, K)."""
        inputs = torch.cat([known, scaled.clamp(-FURTHEST, FURTHEST)], dim=-1)
        hidden, last = inputs, len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found = hidden @ (weight * getattr(self, f"mask_{i}")) + bias
            if i == last:
                hidden = found + inputs @ (self.beside * getattr(self, f"mask_{last + 1}"))
            else:
                hidden = F.silu(found) + (hidden if i else 0.0)
        logits, means, raw = hidden.unflatten(-1, (self.num_values, 3, -1)).unbind(-2)
        low, high = LOG_SCALES
        return logits, means, low + (high - low) * torch.sigmoid(raw + RAW)

    def _scaled(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return values (M, P) on the common scale, and the logarithms of the slopes to it."""
        kind, before, width, location, scale = self.value_scales.T[:5]
        t, log = (values - before) / width, torch.log(values.clamp(min=SMALLEST))
        warped = torch.where(kind == LOG, log, torch.where(kind == ASINH, torch.asinh(t), t))
        slope = torch.where(kind == ASINH, -0.5 * torch.log1p(t.square()), 0.0) - torch.log(width)
        log_slope = torch.where(kind == LOG, -log, slope)
        return (warped - location) / scale, log_slope - torch.log(scale)

    def _unscaled(self, x: Tensor, d: int) -> Tensor:
        kind, before, width, location, scale, low, high = self.value_scales[d]
        warped = x * scale + location
        if kind == LOG:
            values = warped.exp()
        else:
            values = before + width * (torch.sinh(warped) if kind == ASINH else warped)
        if bool(self.is_discrete):
            values = values.round()
        return values.clamp(low, high)

    def _edges(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the mass of discrete values (M, P) begins and ends, on the common scale."""
        *_, low, high = self.value_scales.T
        below, above = self._scaled(values - 0.5)[0], self._scaled(values + 0.5)[0]
        infinite = below.new_full((), INFINITE)
        return (
            torch.where(values <= low, -infinite, below),
            torch.where(values >= high, infinite, above),
        )

    def _inside(self, values: Tensor) -> Tensor:
        kind, *_, low, high = self.value_scales.T
        return (values >= low) & (values <= high) & ((values > 0) | (kind != LOG))


def _masks(
    num_arguments: int, num_values: int, width: int, num_hidden: int, num_outputs: int
) -> list[Tensor]:
    """Return which inputs each unit sees, by layer, and those of the linear map beside them.

    A hidden unit of degree g sees all arguments, and the first g values; so does the mixture of the
    value after these.
    """
    inputs = torch.cat([torch.zeros(num_arguments), torch.arange(1, num_values + 1)])
    hidden = torch.arange(width) * num_values // width
    outputs = torch.arange(num_values).repeat_interleave(num_outputs)
    layers = [inputs, *[hidden] * (num_hidden + 1), outputs]
    pairs = [*itertools.pairwise(layers), (inputs, outputs)]
    return [(before[:, None] <= after).float() for before, after in pairs]


def _scales_of(x: Tensor, *, is_discrete: bool) -> Tensor:
    low, high = x.min(), x.max()
    median = x.median()
    width = ((x.quantile(0.84) - x.quantile(0.16)) / 2).clamp(min=1e-12)
    if float(width) <= 1e-12:
        width = x.std().clamp(min=1.0 if is_discrete else 1e-12)
    t, kind = (x - median) / width, LINEAR
    warped = t
    if _kurtosis(t) > _LONG_TAILS:
        warped, kind = torch.asinh(t), ASINH
        if float(low) > 0 and not is_discrete and abs(_skew(x.log())) < abs(_skew(x)):
            warped, kind = x.log(), LOG
    spread = warped.std().clamp(min=1e-6)
    bounds = [-math.inf, math.inf]
    if is_discrete:
        shares = [(x == low).double().mean(), (x == high).double().mean()]
        bounds = [
            float(bound) if share >= _SHARE_AT_BOUND else inf
            for bound, share, inf in zip((low, high), shares, bounds, strict=True)
        ]
    return torch.tensor([kind, median, width, warped.mean(), spread, *bounds], dtype=x.dtype)


def _skew(x: Tensor) -> float:
    return float(((x - x.mean()) / x.std()).pow(3).mean())


def _kurtosis(x: Tensor) -> float:
    """Return the excess kurtosis, 0 of a normal distribution."""
    return float(((x - x.mean()) / x.std().clamp(min=1e-12)).pow(4).mean()) - 3
