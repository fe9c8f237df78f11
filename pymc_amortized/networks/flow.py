"""The posterior network: an autoregressive spline flow, in the contracts of normflows."""

import math

import normflows
import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractPosteriorNetwork

__all__ = ["AutoregressiveSpline", "SplineFlow", "rational_quadratic_spline"]

_SMALLEST = 1e-3


def rational_quadratic_spline(
    x: Tensor, parameters: Tensor, bound: float, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Apply a monotone rational-quadratic spline on :math:`[-b, b]`, the identity outside.

    Parameters
    ----------
    x : Tensor, shape (...)
        Where to evaluate.
    parameters : Tensor, shape (..., 3 bins - 1)
        Unnormalized widths, heights and inner derivatives; zeros give the identity.
    bound : float
        b.
    inverse : bool
        Evaluate the inverse.

    Returns
    -------
    y : Tensor, shape (...)
        Values.
    log_derivative : Tensor, shape (...)
        Log of the derivative of what was evaluated, in nats.

    References
    ----------
    .. [1] Durkan, C., et al. (2019). Neural spline flows. Advances in Neural Information
       Processing Systems 32, equations 4 to 8. arXiv:1906.04032

    Examples
    --------
    >>> y, log_derivative = rational_quadratic_spline(torch.tensor([0.5]), torch.zeros(1, 11), 4.0)
    >>> y, log_derivative.abs() < 1e-6
    (tensor([0.5000]), tensor([True]))
    """
    num_bins = (parameters.shape[-1] + 1) // 3
    sizes = [num_bins, num_bins, num_bins - 1]
    widths, heights, slopes = parameters.split(sizes, dim=-1)
    widths = 2 * bound * (_SMALLEST + (1 - _SMALLEST * num_bins) * widths.softmax(-1))
    heights = 2 * bound * (_SMALLEST + (1 - _SMALLEST * num_bins) * heights.softmax(-1))
    slopes = F.softplus(slopes + math.log(math.expm1(1 - _SMALLEST))) + _SMALLEST
    slopes = F.pad(slopes, (1, 1), value=1.0)
    left = F.pad(widths.cumsum(-1), (1, 0)) - bound
    bottom = F.pad(heights.cumsum(-1), (1, 0)) - bound

    inside = x.abs() < bound
    point = x.clamp(-bound, bound).unsqueeze(-1)
    knots = bottom if inverse else left
    k = (point >= knots[..., 1:-1]).sum(-1, keepdim=True)
    x_k, y_k, width, height = (t.gather(-1, k) for t in (left, bottom, widths, heights))
    slope, next_slope = slopes.gather(-1, k), slopes.gather(-1, k + 1)
    mean = height / width
    bend = slope + next_slope - 2 * mean

    if inverse:
        rise = point - y_k
        a = height * (mean - slope) + rise * bend
        b = height * slope - rise * bend
        c = -mean * rise
        xi = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0).sqrt())
        y = xi * width + x_k
    else:
        xi = (point - x_k) / width
    within = xi * (1 - xi)
    denominator = mean + bend * within
    if not inverse:
        y = y_k + height * (mean * xi * xi + slope * within) / denominator
    numerator = next_slope * xi * xi + 2 * mean * within + slope * (1 - xi) ** 2
    log_derivative = 2 * mean.log() + numerator.log() - 2 * denominator.log()
    log_derivative = -log_derivative if inverse else log_derivative
    y, log_derivative = y.squeeze(-1), log_derivative.squeeze(-1)
    return torch.where(inside, y, x), torch.where(inside, log_derivative, 0.0)


class AutoregressiveSpline(normflows.flows.Flow):
    """One layer: each coordinate through a spline that depends on those before it.

    ``inverse`` maps parameters to the base space in one pass; ``forward`` maps back in D passes.

    Parameters
    ----------
    num_parameters, context_size : int
        D and C.
    width : int
        Of the hidden layers.
    num_bins : int
        Of each spline.
    bound : float
        Splines act on ``[-bound, bound]``.
    reverse : bool
        Go through the coordinates from the last to the first.

    References
    ----------
    .. [1] Germain, M., et al. (2015). MADE: masked autoencoder for distribution estimation.
       International Conference on Machine Learning. arXiv:1502.03509
    """

    def __init__(
        self,
        num_parameters: int,
        context_size: int,
        width: int = 128,
        num_bins: int = 8,
        bound: float = 6.0,
        *,
        reverse: bool = False,
    ) -> None:
        super().__init__()
        self.num_parameters, self.bound, self.reverse = num_parameters, bound, reverse
        num_outputs = num_parameters * (3 * num_bins - 1)
        order = torch.arange(1, num_parameters + 1)
        degree = torch.arange(width) % max(1, num_parameters - 1) + 1
        of_output = order.repeat_interleave(3 * num_bins - 1)
        masks = (
            degree[:, None] >= order,
            degree[:, None] >= degree,
            of_output[:, None] > degree,
        )
        for i, mask in enumerate(masks):
            self.register_buffer(f"mask_{i}", mask.float(), persistent=False)
        self.layers = nn.ModuleList(
            [
                nn.Linear(num_parameters, width),
                nn.Linear(width, width),
                nn.Linear(width, num_outputs),
            ]
        )
        self.of_context = nn.Linear(context_size, 2 * width + num_outputs)
        for layer in (self.layers[-1], self.of_context):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.layers[-1].weight)
        with torch.no_grad():
            self.of_context.weight[2 * width :] = 0.0

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map parameters (B, D) towards the base; returns values and log determinants (B,)."""
        z = self._ordered(z)
        splines = self._splines(z, self._masked(), self._shifts(context))
        y, log_derivative = rational_quadratic_spline(z, splines, self.bound)
        return self._ordered(y), log_derivative.sum(-1)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map points (B, D) away from the base; returns values and log determinants (B,)."""
        z = self._ordered(z)
        shifts, weights = self._shifts(context), self._masked()
        x = torch.zeros_like(z)
        log_det = z.new_zeros(z.shape[0])
        for i in range(self.num_parameters):
            splines = self._splines(x, weights, shifts, only=i)
            value, log_derivative = rational_quadratic_spline(
                z[:, i], splines, self.bound, inverse=True
            )
            x = torch.cat([x[:, :i], value.unsqueeze(-1), x[:, i + 1 :]], dim=-1)
            log_det = log_det + log_derivative
        return self._ordered(x), log_det

    def _masked(self) -> list[Tensor]:
        masks = (self.mask_0, self.mask_1, self.mask_2)
        return [layer.weight * mask for layer, mask in zip(self.layers, masks, strict=True)]

    def _shifts(self, context: Tensor) -> tuple[Tensor, ...]:
        width = self.layers[1].in_features
        return self.of_context(context).split([width, width, self.layers[2].out_features], dim=-1)

    def _splines(
        self,
        x: Tensor,
        weights: list[Tensor],
        shifts: tuple[Tensor, ...],
        only: int | None = None,
    ) -> Tensor:
        """Return the splines (B, D, ·), or those of one coordinate (B, ·)."""
        first, second, last = self.layers
        h = F.silu(F.linear(x, weights[0], first.bias) + shifts[0])
        h = h + F.silu(F.linear(h, weights[1], second.bias) + shifts[1])
        size = last.out_features // self.num_parameters
        if only is not None:
            part = slice(only * size, (only + 1) * size)
            return F.linear(h, weights[2][part], last.bias[part]) + shifts[2][:, part]
        splines = F.linear(h, weights[2], last.bias) + shifts[2]
        return splines.unflatten(-1, (self.num_parameters, size))

    def _ordered(self, x: Tensor) -> Tensor:
        return x.flip(-1) if self.reverse else x


class SplineFlow(AbstractPosteriorNetwork):
    """Autoregressive spline layers over a standard normal base.

    Parameters
    ----------
    num_parameters, context_size : int
        D and C.
    num_layers : int
        Layers, each through the coordinates in the order opposite to the one before.
    width : int
        Of the hidden layers.
    num_bins : int
        Of each spline.

    References
    ----------
    .. [1] Stimper, V., et al. (2023). normflows: a PyTorch package for normalizing flows. Journal
       of Open Source Software 8(86), 5361. doi:10.21105/joss.05361
    """

    def __init__(
        self,
        num_parameters: int,
        context_size: int,
        num_layers: int = 2,
        width: int = 128,
        num_bins: int = 8,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        base = normflows.distributions.DiagGaussian(num_parameters, trainable=False)
        layers = [
            AutoregressiveSpline(num_parameters, context_size, width, num_bins, reverse=bool(i % 2))
            for i in range(num_layers)
        ]
        self.flow = normflows.ConditionalNormalizingFlow(base, layers)

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (B,) in nats of scores (B, D), given contexts (B, C)."""
        return self.flow.log_prob(scores, context)

    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return draws (S, B, D) and their log densities (S, B), given contexts (B, C)."""
        num_datasets = context.shape[0]
        shape = (num_draws, num_datasets, self.num_parameters)
        # The base of normflows draws from torch's global generator, so its draws are made here.
        base = torch.randn(
            shape, generator=generator, device=context.device, dtype=context.dtype
        ).flatten(0, 1)
        repeated = context.expand(num_draws, *context.shape).flatten(0, 1)
        scores, log_det = self.flow.forward_and_log_det(base, context=repeated)
        log_q = self.flow.q0.log_prob(base) - log_det
        return scores.unflatten(0, shape[:2]), log_q.unflatten(0, shape[:2])
