"""Monotone maps of coordinates, fitted to draws."""

import math

from dataclasses import dataclass

import torch

from torch import Tensor

__all__ = ["NormalScores", "fit_normal_scores"]

_NUM_KNOTS = 33
_REACH = 2.75


@dataclass(frozen=True, slots=True, eq=False)
class NormalScores:
    r"""A map under which draws of each coordinate are standard normal.

    Between knots a monotone rational-quadratic spline [1]_, beyond them linear, so that it is a
    smooth bijection of the real line with a closed inverse.

    Parameters
    ----------
    knots : Tensor, shape (D, J)
        Increasing values of each coordinate.
    scores : Tensor, shape (J,)
        The standard normal values that they are mapped to.
    slopes : Tensor, shape (D, J)
        Derivatives at the knots, positive.

    References
    ----------
    .. [1] Gregory, J. A. & Delbourgo, R. (1982). Piecewise rational quadratic interpolation to
       monotonic data. IMA Journal of Numerical Analysis 2, 123-130.
    """

    knots: Tensor
    scores: Tensor
    slopes: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map coordinates to scores.

        Parameters
        ----------
        x : Tensor, shape (*batch, D)
            Unconstrained parameters.

        Returns
        -------
        scores : Tensor, shape (*batch, D)
            Standard normal where ``x`` is distributed as the draws were.
        log_det : Tensor, shape (*batch,)
            Log absolute determinant of the Jacobian, in nats.
        """
        (x0, x1, z0, z1, d0, d1), columns, inside = self._neighbours_of(self.knots, x)
        chord = (z1 - z0) / (x1 - x0)
        t = (inside - x0) / (x1 - x0)
        bend = d0 + d1 - 2 * chord
        below = chord + bend * t * (1 - t)
        z = z0 + (z1 - z0) * (chord * t**2 + d0 * t * (1 - t)) / below
        slope = chord**2 * (d1 * t**2 + 2 * chord * t * (1 - t) + d0 * (1 - t) ** 2) / below**2
        # At an end knot the slope of the spline is that of the line which continues it.
        z = z + slope * (columns - inside)
        return z.movedim(0, -1), torch.log(slope).sum(0)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores back to coordinates.

        Parameters
        ----------
        z : Tensor, shape (*batch, D)
            Scores.

        Returns
        -------
        x : Tensor, shape (*batch, D)
            Unconstrained parameters.
        log_det : Tensor, shape (*batch,)
            Log absolute determinant of the Jacobian of the inverse, in nats.
        """
        (x0, x1, z0, z1, d0, d1), columns, inside = self._neighbours_of(self.scores, z)
        chord = (z1 - z0) / (x1 - x0)
        bend = d0 + d1 - 2 * chord
        rise = inside - z0
        a = (z1 - z0) * (chord - d0) + rise * bend
        b = (z1 - z0) * d0 - rise * bend
        c = -chord * rise
        t = 2 * c / (-b - torch.sqrt((b**2 - 4 * a * c).clamp_min(0)))
        below = chord + bend * t * (1 - t)
        slope = chord**2 * (d1 * t**2 + 2 * chord * t * (1 - t) + d0 * (1 - t) ** 2) / below**2
        x = x0 + t * (x1 - x0) + (columns - inside) / slope
        return x.movedim(0, -1), -torch.log(slope).sum(0)

    def _neighbours_of(
        self, grid: Tensor, values: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Return knots, scores and slopes on both sides of values (*batch, D), each (D, *batch).

        And the values in that order, which is the faster one; and clamped to the grid.
        """
        knots = self.knots.to(values)
        tables = (knots, self.scores.to(values).expand_as(knots), self.slopes.to(values))
        grid = grid.to(values).expand_as(knots).contiguous()
        columns = values.reshape(-1, values.shape[-1]).T.contiguous()
        inside = columns.clamp(grid[:, :1], grid[:, -1:])
        index = torch.searchsorted(grid, inside, right=True) - 1
        index = index.clamp(0, grid.shape[-1] - 2)
        shape = (values.shape[-1], *values.shape[:-1])
        sides = [table.gather(1, i).reshape(shape) for table in tables for i in (index, index + 1)]
        return tuple(sides), columns.reshape(shape), inside.reshape(shape)


def fit_normal_scores(draws: Tensor) -> NormalScores:
    r"""Fit the map that makes draws of each coordinate standard normal.

    Parameters
    ----------
    draws : Tensor, shape (S, D)
        Finite draws, S at least 100.

    Returns
    -------
    NormalScores
        Knots at the quantiles of normal scores from -2.75 to 2.75; linear beyond.

    Raises
    ------
    ValueError
        If there are too few draws, or some are not finite.

    Examples
    --------
    >>> draws = torch.exp(torch.randn(5000, 1, generator=torch.Generator().manual_seed(0)))
    >>> scores, _ = fit_normal_scores(draws).forward(draws)
    >>> bool(scores.mean().abs() < 0.01) and bool((scores.std() - 1).abs() < 0.02)
    True
    """
    if draws.ndim != 2 or draws.shape[0] < 100:
        raise ValueError(f"Expected at least 100 draws (S, D); got shape {tuple(draws.shape)}.")
    if not bool(torch.isfinite(draws).all()):
        raise ValueError("Expected finite draws; some are NaN or infinite.")
    draws = draws.double()
    num_knots = min(_NUM_KNOTS, 2 * int(math.log2(draws.shape[0])) + 1)
    reach = min(_REACH, float(torch.special.ndtri(torch.tensor(1 - 5.0 / draws.shape[0]))))
    scores = torch.linspace(-reach, reach, num_knots, dtype=torch.float64, device=draws.device)
    knots = torch.quantile(draws, torch.special.ndtr(scores), dim=0).T.contiguous()
    knots = _make_increasing(knots)
    return NormalScores(knots, scores, _slopes(knots, scores))


def _make_increasing(knots: Tensor) -> Tensor:
    """Pull ties apart: where draws pile up, the map is steep, but still a bijection."""
    spread = (knots[:, -1:] - knots[:, :1]).clamp_min(1e-6)
    ramp = torch.linspace(0, 1, knots.shape[1], dtype=knots.dtype, device=knots.device)
    return knots + 1e-4 * spread * ramp


def _slopes(knots: Tensor, scores: Tensor) -> Tensor:
    """Geometric means of the neighbouring chords, which suit a ratio of densities."""
    chords = (scores[1:] - scores[:-1]) / (knots[:, 1:] - knots[:, :-1])
    inner = torch.sqrt(chords[:, 1:] * chords[:, :-1])
    return torch.cat([chords[:, :1], inner, chords[:, -1:]], dim=1)
