"""Mixtures of multivariate Student t distributions, one for each of many data sets."""

import math

from dataclasses import dataclass

import torch

from torch import Tensor

__all__ = ["StudentMixture", "components_for_modes", "fit_student_mixture", "stable_cholesky"]

_HALF_DEGREES_OF_FREEDOM = 4
_DEGREES_OF_FREEDOM = 2.0 * _HALF_DEGREES_OF_FREEDOM
_FEW, _MORE, _MANY, _SIZE_FOR_MANY = 5, 12, 24, 12
_NUM_STEPS = 8
_CANDIDATES_OF_EACH = 13
_PRIOR_COUNT = 0.02
_PRIOR_WEIGHT = 1e-3
_FLOOR = 1e-3
_JITTER = 1e-10
_SMALLEST = 1e-12
_STEADIER = (1e-12, 1e-9, 1e-6, 1e-3)


@dataclass(frozen=True, slots=True, eq=False)
class StudentMixture:
    """B mixtures of K multivariate Student t distributions with 8 degrees of freedom.

    Attributes
    ----------
    log_weights : Tensor, shape (B, K)
        Log probabilities of the components.
    location : Tensor, shape (B, K, D)
        Their centres.
    scale_tril : Tensor, shape (B, K, D, D)
        Lower Cholesky factors of their scale matrices.

    Examples
    --------
    >>> one = StudentMixture(torch.zeros(1, 1), torch.zeros(1, 1, 2), torch.eye(2)[None, None])
    >>> one.log_prob(torch.zeros(1, 1, 2)) + math.log(2 * math.pi) < 1e-6
    tensor([[True]])
    """

    log_weights: Tensor
    location: Tensor
    scale_tril: Tensor

    def log_prob(self, points: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of points (S, B, D)."""
        log_density, _ = self.component_log_prob(points)
        return (log_density + self.log_weights.unsqueeze(-1)).logsumexp(1).T

    def component_log_prob(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return log densities and squared distances (B, K, S) under each component."""
        size = self.location.shape[-1]
        identity = torch.eye(size, dtype=points.dtype, device=points.device)
        whiten = torch.linalg.solve_triangular(
            self.scale_tril, identity.expand_as(self.scale_tril), upper=False
        )  # (B, K, D, D)
        centre = (whiten @ self.location.unsqueeze(-1)).to(points.dtype)  # (B, K, D, 1)
        # All components in one product, and the rest in its place: tables of B K D S numbers.
        z = whiten.flatten(1, 2) @ points.permute(1, 2, 0)  # (B, K D, S)
        z.sub_(centre.flatten(1, 2)).square_()
        distance = z.unflatten(1, centre.shape[1:3]).sum(2)
        nu = _DEGREES_OF_FREEDOM
        constant = math.lgamma((nu + size) / 2) - math.lgamma(nu / 2)
        constant -= size / 2 * math.log(nu * math.pi)
        log_det = self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        tail = (nu + size) / 2 * torch.log1p(distance / nu)
        return constant - log_det - tail, distance

    def memberships(self, points: Tensor) -> Tensor:
        """Return the probability (B, K, S) that points (S, B, D) come from each component."""
        log_density, _ = self.component_log_prob(points)
        return (log_density + self.log_weights.unsqueeze(-1)).softmax(1)

    def sample(self, num_draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Return draws (S, B, D)."""
        num_datasets, _, size = self.location.shape
        options = {"dtype": self.location.dtype, "device": self.location.device}
        chosen = torch.multinomial(
            self.log_weights.exp(), num_draws, replacement=True, generator=generator
        )  # (B, S)
        normal = torch.randn(num_datasets, num_draws, size, generator=generator, **options)
        # Half of a chi-squared variable of 8 degrees of freedom is the sum of 4 exponential ones.
        shape = (num_datasets, num_draws, _HALF_DEGREES_OF_FREEDOM)
        half = -torch.rand(shape, generator=generator, **options).log().sum(-1)
        normal = normal * (_HALF_DEGREES_OF_FREEDOM / half).sqrt().unsqueeze(-1)
        draws = torch.zeros_like(normal)
        for k in range(self.location.shape[1]):
            moved = normal @ self.scale_tril[:, k].mT + self.location[:, k].unsqueeze(1)
            draws = torch.where((chosen == k).unsqueeze(-1), moved, draws)
        return draws.transpose(0, 1)

    def draw(
        self, num_draws: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return draws (S, B, D) and their log densities (S, B) in nats."""
        points = self.sample(num_draws, generator)
        return points, self.log_prob(points)

    def carry_over(
        self, points: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Propose for each point the same place of another component: a Metropolis step [1]_.

        A point x of a component with centre m and factor L goes to m' + L' inv(L) (x - m). Where
        modes have shapes that are alike, most such steps are accepted, in any number of dimensions.

        Parameters
        ----------
        points : Tensor, shape (S, B, D)
            The points.
        generator : torch.Generator, optional
            Source of randomness.

        Returns
        -------
        proposed : Tensor, shape (S, B, D)
            Where they would go.
        log_ratio : Tensor, shape (S, B)
            What the log of the ratio of target densities is raised by, to accept or not.

        References
        ----------
        .. [1] Tjelmeland, H. & Hegstad, B. K. (2001). Mode jumping proposals in MCMC. Scandinavian
           Journal of Statistics 28(1), 205-223.
        """
        num_points, num_datasets = points.shape[:2]
        number = self.log_weights.shape[1]
        member = self.memberships(points).permute(2, 0, 1)  # (S, B, K)
        source = torch.multinomial(member.reshape(-1, number), 1, generator=generator)
        source = source.reshape(num_points, num_datasets, 1)
        options = {"generator": generator, "device": points.device}
        goal = torch.randint(number, source.shape, **options)
        proposed = torch.zeros_like(points)
        inverse = torch.linalg.inv(self.scale_tril)
        # One component after the other: factors of all points at once would be S D^2 numbers.
        for k in range(number):
            centred = (points - self.location[:, k]).transpose(0, 1)
            standard = (centred @ inverse[:, k].mT).transpose(0, 1)
            proposed = torch.where(source == k, standard, proposed)
        standard = proposed
        for k in range(number):
            moved = (standard.transpose(0, 1) @ self.scale_tril[:, k].mT).transpose(0, 1)
            proposed = torch.where(goal == k, moved + self.location[:, k], proposed)
        log_det = (
            self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1).expand(num_points, -1, -1)
        )
        back = self.memberships(proposed).permute(2, 0, 1).gather(2, goal).log()
        there = member.gather(2, source).log()
        growth = log_det.gather(2, goal) - log_det.gather(2, source)
        return proposed, (back - there + growth).squeeze(-1)

    def select(self, index: Tensor) -> "StudentMixture":
        """Return those of some data sets."""
        return StudentMixture(self.log_weights[index], self.location[index], self.scale_tril[index])


def fit_student_mixture(
    points: Tensor,
    log_weights: Tensor,
    num_components: int | None = None,
    *,
    num_points: int = 1_000,
    generator: torch.Generator | None = None,
) -> StudentMixture:
    r"""Fit mixtures to weighted draws by expectation-maximization [1]_.

    As many points of each data set as asked for, picked in proportion to the weights, are all that
    is looked at.
    Components start far apart, so that separate modes have each their own, and scale matrices are
    shrunk towards their average, so that none collapses on a single point.

    Parameters
    ----------
    points : Tensor, shape (S, B, D)
        Weighted draws.
    log_weights : Tensor, shape (S, B)
        Their log weights, up to a constant per data set.
    num_components : int, optional
        K. Default: 5, and 24 from twelve dimensions on, where a component that spans two modes
        reaches neither.
    num_points : int
        How many points are picked.
    generator : torch.Generator, optional
        Of the picks.

    References
    ----------
    .. [1] Peel, D. & McLachlan, G. J. (2000). Robust mixture modelling using the t distribution.
       Statistics and Computing 10, 339-348.

    Examples
    --------
    Two modes, 10 apart, of which one has three times the weight of the other.

    >>> generator = torch.Generator().manual_seed(1)
    >>> points = torch.randn(4000, 1, 1, generator=generator, dtype=torch.float64)
    >>> points[:1000] += 10
    >>> mixture = fit_student_mixture(points, torch.zeros(4000, 1), 2, generator=generator)
    >>> mixture.location.flatten().sort().values.round().abs()
    tensor([ 0., 10.], dtype=torch.float64)
    >>> bool(abs(mixture.log_weights.exp().min() - 0.25) < 0.05)
    True
    """
    if num_components is None:
        num_components = _FEW if points.shape[-1] < _SIZE_FOR_MANY else _MANY
    index = torch.multinomial(
        log_weights.softmax(0).T, num_points, replacement=True, generator=generator
    )  # (B, M)
    size = points.shape[-1]
    x = points.transpose(0, 1).gather(1, index.unsqueeze(-1).expand(-1, -1, size))  # (B, M, D)
    centred = x - x.mean(1, keepdim=True)
    identity = torch.eye(size, dtype=x.dtype, device=x.device)
    overall = centred.mT @ centred / num_points
    largest = overall.diagonal(dim1=-2, dim2=-1).amax(-1)
    overall = overall + (_JITTER * largest + _SMALLEST)[:, None, None] * identity
    nearest = _nearest(x, overall, num_components, generator)
    member = torch.nn.functional.one_hot(nearest, num_components).mT.to(x.dtype) / num_points
    mixture = _maximize(x, member, member, overall)
    for _ in range(_NUM_STEPS):
        mixture = _improve(mixture, x, overall)
    return mixture


def _improve(mixture: StudentMixture, x: Tensor, overall: Tensor) -> StudentMixture:
    """Take one step of expectation-maximization on points (B, M, D)."""
    num_points, size = x.shape[1:]
    log_density, distance = mixture.component_log_prob(x.transpose(0, 1))
    member = (log_density + mixture.log_weights.unsqueeze(-1)).softmax(1) / num_points  # (B, K, M)
    weight = member * (_DEGREES_OF_FREEDOM + size) / (_DEGREES_OF_FREEDOM + distance)
    return _maximize(x, member, weight, overall)


def _maximize(x: Tensor, member: Tensor, weight: Tensor, overall: Tensor) -> StudentMixture:
    """Return what fits points (B, M, D) best, given memberships and their weights (B, K, M)."""
    count = member.sum(-1)
    location = weight @ x / (weight.sum(-1, keepdim=True) + 1e-12)
    apart = x.unsqueeze(1) - location.unsqueeze(2)  # (B, K, M, D)
    scatter = (apart * weight.unsqueeze(-1)).mT @ apart
    within = scatter.sum(1, keepdim=True) + _FLOOR * overall.unsqueeze(1)
    covariance = (scatter + _PRIOR_COUNT * within) / (count + _PRIOR_COUNT)[..., None, None]
    log_weights = (count + _PRIOR_WEIGHT).log().log_softmax(-1)
    return StudentMixture(log_weights, location, stable_cholesky(covariance))


def components_for_modes(size: int) -> int:
    """Return how many components are enough where there may be many modes, in D dimensions."""
    return _MORE if size < _SIZE_FOR_MANY else _MANY


def stable_cholesky(covariance: Tensor) -> Tensor:
    """Return lower Cholesky factors (*, D, D) of covariances, also of points that all but coincide.

    Where rounding leaves no positive matrix, shares of its largest variance are added.
    """
    lower, info = torch.linalg.cholesky_ex(covariance)
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    largest = covariance.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None].clamp(min=_SMALLEST)
    for share in _STEADIER:
        if not bool(info.any()):
            break
        steadier, still = torch.linalg.cholesky_ex(covariance + share * largest * identity)
        lower = torch.where((info > 0)[..., None, None], steadier, lower)
        info = torch.where(info > 0, still, info)
    return lower


def _nearest(x: Tensor, overall: Tensor, number: int, generator: torch.Generator | None) -> Tensor:
    """Return which of so many centres each point (B, M) is nearest to.

    Centres are points, each picked the more likely the farther it is from those before [1]_.

    .. [1] Arthur, D. & Vassilvitskii, S. (2007). k-means++: the advantages of careful seeding.
    """
    # Whitening by all of the covariance would hide modes, whose distance makes up most of it.
    z = x / overall.diagonal(dim1=-2, dim2=-1).sqrt().unsqueeze(1)
    distances = [(z - z[:, :1]).square().sum(-1)]
    smallest = distances[0]
    for _ in range(number - 1):
        weights = smallest[:, : _CANDIDATES_OF_EACH * number - 1] + 1e-12
        pick = torch.multinomial(weights, 1, generator=generator)  # (B, 1)
        centre = z.gather(1, pick.unsqueeze(-1).expand(-1, -1, z.shape[-1]))
        distances.append((z - centre).square().sum(-1))
        smallest = torch.minimum(smallest, distances[-1])
    return torch.stack(distances, dim=-1).argmin(-1)
