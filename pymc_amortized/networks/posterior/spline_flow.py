"""The posterior network: an autoregressive spline flow, in the contracts of normflows."""

import math

from collections.abc import Callable, Sequence

import normflows
import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractFlow

__all__ = ["AutoregressiveSpline", "SplineFlow", "rational_quadratic_spline"]

Layer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_SMALLEST = 1e-3
_ROWS_PER_THREAD = 16_384


def rational_quadratic_spline(
    x: Tensor, parameters: Tensor, bound: float, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Apply a monotone rational-quadratic spline on :math:`[-b, b]`, the identity outside.

    Parameters
    ----------
    x : Tensor, shape (..., R)
        Where to evaluate.
    parameters : Tensor, shape (..., 3 bins - 1, R)
        Unnormalized widths, heights and inner derivatives; zeros give the identity.
    bound : float
        b.
    inverse : bool
        Evaluate the inverse.

    Returns
    -------
    y : Tensor, shape (..., R)
        Values.
    log_derivative : Tensor, shape (..., R)
        Log of the derivative of what was evaluated, in nats.

    Notes
    -----
    Rows are on the last axis because an operation over a short last axis, such as a softmax over
    bins, takes several times as long on a CPU.

    References
    ----------
    .. [1] Durkan, C., et al. (2019). Neural spline flows. Advances in Neural Information
       Processing Systems 32, equations 4 to 8. arXiv:1906.04032

    Examples
    --------
    >>> y, log_derivative = rational_quadratic_spline(torch.tensor([0.5]), torch.zeros(11, 1), 4.0)
    >>> y, log_derivative.abs() < 1e-6
    (tensor([0.5000]), tensor([True]))
    """
    num_bins = (parameters.shape[-2] + 1) // 3
    widths, heights, slopes = parameters.split([num_bins, num_bins, num_bins - 1], dim=-2)
    widths, heights = widths.softmax(-2), heights.softmax(-2)
    rights, tops = widths.cumsum(-2), heights.cumsum(-2)
    # Sizes are mixed with equal ones, so that none vanishes; edges are summed before that.
    least = 2 * bound * _SMALLEST
    scale = 2 * bound * (1 - _SMALLEST * num_bins)

    inside = x.abs() < bound
    point = x.clamp(-bound, bound).unsqueeze(-2)
    edges = (tops if inverse else rights)[..., :-1, :]
    numbers = torch.arange(1, num_bins, device=x.device, dtype=x.dtype).unsqueeze(-1)
    k = ((point + bound) / scale >= edges + numbers * (least / scale)).sum(-2, keepdim=True)
    x_k, y_k, width, height = (t.gather(-2, k) for t in (rights, tops, widths, heights))
    start = k.to(x.dtype) * least - bound
    x_k, y_k = scale * (x_k - width) + start, scale * (y_k - height) + start
    width, height = scale * width + least, scale * height + least
    slope, next_slope = (
        F.softplus(_inner(slopes, i) + math.log(math.expm1(1 - _SMALLEST))) + _SMALLEST
        for i in (k - 1, k)
    )
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
    y, log_derivative = y.squeeze(-2), log_derivative.squeeze(-2)
    return torch.where(inside, y, x), torch.where(inside, log_derivative, 0.0)


def _inner(slopes: Tensor, index: Tensor) -> Tensor:
    """Select derivatives at inner knots; 0, which stands for a derivative of 1, at the ends."""
    last = slopes.shape[-2] - 1
    found = slopes.gather(-2, index.clamp(0, last))
    return found.masked_fill((index < 0) | (index > last), 0.0)


class AutoregressiveSpline(normflows.flows.Flow):
    """One layer: each coordinate through a spline that depends on those before it.

    ``inverse`` maps parameters to the base space at once; ``forward`` maps back one coordinate
    after the other. Contexts are given once for each data set, however many its draws.

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
        self.num_known = [int((degree <= i).sum()) for i in range(num_parameters)]
        self.register_buffer("by_degree", degree.argsort(stable=True), persistent=False)
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
        """Map parameters towards the base, in one pass.

        Parameters
        ----------
        z : Tensor, shape (B, D) or (S, B, D)
            Parameters.
        context : Tensor, shape (B, C)
            Contexts.

        Returns
        -------
        y : Tensor, of the shape of z
            Points of the base.
        log_det : Tensor, shape (B,) or (S, B)
            Log absolute determinants in nats.
        """
        x = self._columns(z)
        y, log_derivative = rational_quadratic_spline(x, self._splines(x, context), self.bound)
        return self._rows(y, z), self._rows(log_derivative.sum(0, keepdim=True), z)[..., 0]

    @torch.no_grad()
    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map points of the base to parameters, one coordinate after the other, without gradients.

        Parameters
        ----------
        z : Tensor, shape (B, D) or (S, B, D)
            Points of the base.
        context : Tensor, shape (B, C)
            Contexts.

        Returns
        -------
        x : Tensor, of the shape of z
            Parameters.
        log_det : Tensor, shape (B,) or (S, B)
            Log absolute determinants in nats.
        """
        base = self._columns(z)
        weights, shifts = self._split_by_coordinate(context)
        x, log_det = torch.empty_like(base), torch.zeros_like(base[:1])
        h, g = (base.new_empty(len(self.by_degree), *base.shape[1:]) for _ in range(2))
        done = 0
        # With i coordinates known, so are the hidden units of degree up to i, and for good.
        for i, known in enumerate(self.num_known):
            new = slice(done, known)
            h[new] = F.silu(_affine(weights[0][new, :i], x[:i], shifts[0][new]))
            g[new] = F.silu(_affine(weights[1][new, :known], h[:known], shifts[1][new]))
            g[new] += h[new]
            splines = _affine(weights[2][i, :, :known], g[:known], shifts[2][i])
            x[i], log_derivative = rational_quadratic_spline(
                base[i], splines, self.bound, inverse=True
            )
            log_det += log_derivative
            done = known
        return self._rows(x, z), self._rows(log_det, z)[..., 0]

    def _splines(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the splines (D, 3 bins - 1, B S) of all coordinates (D, B S)."""
        first, second, last = self._mask_weights()
        shifts = self._shifts(context)
        h = F.silu(_affine(first, x, shifts[0]))
        h = h + F.silu(_affine(second, h, shifts[1]))
        return _affine(last, h, shifts[2]).unflatten(0, (self.num_parameters, -1))

    def _split_by_coordinate(self, context: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return weights and shifts: hidden units by degree, outputs (D, 3 bins - 1, ·)."""
        order, sizes = self.by_degree, (self.num_parameters, -1)
        first, second, last = (layer.weight for layer in self.layers)
        weights = [first[order], second[order][:, order], last[:, order].unflatten(0, sizes)]
        first, second, last = self._shifts(context)
        return weights, [first[order], second[order], last.unflatten(0, sizes)]

    def _mask_weights(self) -> list[Tensor]:
        masks = (self.mask_0, self.mask_1, self.mask_2)
        return [layer.weight * mask for layer, mask in zip(self.layers, masks, strict=True)]

    def _shifts(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return what each layer adds for each data set, (out, B)."""
        bias = self.of_context.bias + torch.cat([layer.bias for layer in self.layers])
        shifts = torch.addmm(bias.unsqueeze(1), self.of_context.weight, context.mT)
        return shifts.split([layer.out_features for layer in self.layers])

    def _columns(self, z: Tensor) -> Tensor:
        """Bring points into columns (D, B S), in the order of this layer."""
        z = z.reshape(-1, *z.shape[-2:]).permute(2, 1, 0)
        return (z.flip(0) if self.reverse else z).flatten(1)

    def _rows(self, x: Tensor, like: Tensor) -> Tensor:
        """Bring columns (·, B S) back to (B, ·) or (S, B, ·)."""
        x = (x.flip(0) if self.reverse else x).unflatten(1, (like.shape[-2], -1))
        return x.permute(2, 1, 0).reshape(*like.shape[:-1], -1)


def _affine(weight: Tensor, x: Tensor, shift: Tensor) -> Tensor:
    """Return ``weight`` (out, in) times x (in, B S), plus a shift (out, B) of each data set."""
    if shift.shape[1] == x.shape[1]:
        return torch.addmm(shift, weight, x)
    y = weight @ x
    y.unflatten(1, (shift.shape[1], -1)).add_(shift.unsqueeze(-1))
    return y


class SplineFlow(AbstractFlow):
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

    fingerprint_name = "pymc_amortized.networks.flow.SplineFlow"

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

    def to_base(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return points of the base and log determinants of scores (B, D) or (S, B, D)."""
        layers = [layer.inverse for layer in reversed(self.flow.flows)]
        return (_run if scores.ndim == 2 else _run_in_pieces)(scores, context, layers)

    @torch.no_grad()
    def from_base(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (S, B, D) and log determinants (S, B), without gradients."""
        return _run_in_pieces(points, context, list(self.flow.flows))


def _run_in_pieces(
    draws: Tensor, context: Tensor, layers: Sequence[Layer]
) -> tuple[Tensor, Tensor]:
    """Send draws (S, B, D) through layers, in pieces that stay in a processor's cache."""
    step = len(draws)
    if draws.device.type == "cpu":
        most = _ROWS_PER_THREAD * torch.get_num_threads()
        step = max(1, most // max(1, draws.shape[1]))
    pieces = [_run(piece, context, layers) for piece in draws.split(step)]
    return torch.cat([x for x, _ in pieces]), torch.cat([log_det for _, log_det in pieces])


def _run(x: Tensor, context: Tensor, layers: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    total = x.new_zeros(x.shape[:-1])
    for layer in layers:
        x, log_det = layer(x, context)
        total = total + log_det
    return x, total
