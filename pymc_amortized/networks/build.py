"""Which networks are built for a model, unless the user says otherwise."""

import functools

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.networks.classification.path_network import PathNetwork
from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from pymc_amortized.networks.contracts import (
    AbstractClassificationNetwork,
    AbstractPosteriorNetwork,
    AbstractSummaryNetwork,
)
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.networks.posterior.autoencoders import ConditionalPriorVAE
from pymc_amortized.networks.posterior.mixture_density import MixtureDensity
from pymc_amortized.networks.posterior.prior import PriorNetwork
from pymc_amortized.networks.posterior.spline_flow import SplineFlow
from pymc_amortized.networks.summary.deep_set import DeepSet
from pymc_amortized.networks.summary.order_statistics import OrderStatisticsNetwork
from pymc_amortized.networks.summary.soft_clusters import SoftClusterNetwork
from pymc_amortized.networks.summary.soft_states import SoftStateNetwork
from pymc_amortized.networks.summary.vector_network import VectorNetwork
from pymc_amortized.networks.units import UnitShape

__all__ = ["Networks", "build_estimator", "prior_estimator", "with_choice"]

_MAX_FEATURES_TO_CLUSTER = 8
_CHOICES = {
    "SplineFlow": SplineFlow,
    "MixtureDensity": MixtureDensity,
    "ConditionalPriorVAE": functools.partial(ConditionalPriorVAE, num_samples=8),
}


@dataclass(frozen=True, slots=True)
class Networks:
    """Which networks to build; None chooses from the reading of the model.

    Attributes
    ----------
    summary : callable or None
        Takes a ``UnitShape``, and returns an ``AbstractSummaryNetwork``; called once for each table
        of units. By default a ``VectorNetwork`` for a single row, an ``OrderStatisticsNetwork`` for
        exchangeable scalars, a ``SoftClusterNetwork`` for rows of up to 8 features, a ``DeepSet``
        otherwise.
    posterior : callable, "auto" or None
        Takes the number of parameters and the width of the context, and returns an
        ``AbstractPosteriorNetwork``. By default a ``SplineFlow``. ``"auto"`` trains a flow, a
        mixture of normals and a variational autoencoder, one after the other, and keeps the one
        with the lowest loss on what is held out.
    classification : callable, True or None
        Takes a ``UnitShape`` and the number of parameter features, and returns an
        ``AbstractClassificationNetwork``. By default a ``UnitClassifier`` where a model has no
        density: where it has, indicators are drawn exactly, and a network that learned them would
        only slow the training of the others. True trains one all the same. States of which a model
        gives draws only have a ``PathNetwork`` in its place.
    likelihood : callable, True or None
        Of a model without a density: True learns one from the simulations, for each distribution
        that can only be drawn from, and corrects answers by it; they are as good as it is, and
        ``checked`` says ``"learned"``. Or what takes the numbers of arguments and of values, and
        ``is_discrete``, and returns a ``LikelihoodNetwork``, to choose its size.

    Examples
    --------
    >>> import functools
    >>> import pymc_amortized as pma
    >>> pma.Networks(summary=functools.partial(pma.SetTransformer, width=32)).posterior is None
    True
    """

    summary: Callable[[UnitShape], AbstractSummaryNetwork] | None = None
    posterior: Callable[[int, int], AbstractPosteriorNetwork] | Literal["auto"] | None = None
    classification: (
        Callable[[UnitShape, int], AbstractClassificationNetwork] | Literal[True] | None
    ) = None
    likelihood: Callable[..., LikelihoodNetwork] | Literal[True] | None = None

    def __post_init__(self) -> None:
        for name in ("summary", "posterior", "classification", "likelihood"):
            value = getattr(self, name)
            named = {"classification": True, "posterior": "auto", "likelihood": True}.get(name)
            if value is None or callable(value) or (named is not None and value == named):
                continue
            raise InvalidArgumentError(
                f"Expected {name} to be what builds a network; got {value!r}. For instance:\n\n"
                "    pma.Networks(summary=pma.SetTransformer)"
            )

    @property
    def is_choice(self) -> bool:
        """Whether the posterior network is to be the best of several."""
        return self.posterior == "auto"

    @property
    def choices(self) -> "dict[str, Networks]":
        """Networks with each of the posterior networks to choose from, by their names."""
        return {name: replace(self, posterior=build) for name, build in _CHOICES.items()}


def with_choice(networks: Networks | None, chosen: str) -> Networks | None:
    """Return networks with the posterior network that was the best of several, if there was one."""
    if not chosen:
        return networks
    return (networks or Networks()).choices[chosen]


def build_estimator(
    shapes: Sequence[UnitShape],
    num_parameters: int,
    num_features: int,
    networks: Networks | None = None,
    random_seed: int = 0,
) -> Estimator:
    """Build an estimator for tables of units, with weights that depend on the seed alone.

    Parameters
    ----------
    shapes : sequence of UnitShape
        Of the tables.
    num_parameters, num_features : int
        D, and P, the parameters in both spaces.
    networks : Networks, optional
        The user's own choice.
    random_seed : int
        For the initial weights. Torch's global generator is left as it was.
    """
    networks = networks or Networks()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed)
        summaries = [(networks.summary or _default_summary(shape))(shape) for shape in shapes]
        context_size = sum(summary.context_size for summary in summaries)
        is_named = networks.posterior is not None and not networks.is_choice
        build_posterior = networks.posterior if is_named else SplineFlow
        posterior = build_posterior(num_parameters, context_size) if num_parameters else None
        build = networks.classification
        if build is None or build is True:
            build = UnitClassifier
        classifiers = {
            i: build(shape, num_features)
            for i, shape in enumerate(shapes)
            if shape.learns == "units"
        }
        path_networks = {
            i: PathNetwork(shape, num_features)
            for i, shape in enumerate(shapes)
            if shape.learns == "paths"
        }
    return Estimator(summaries, posterior, classifiers, path_networks, shapes, num_features)


def prior_estimator(
    shapes: Sequence[UnitShape], num_parameters: int, num_features: int
) -> Estimator:
    """Return an estimator without a weight, which leaves all to corrections by the density."""
    posterior = PriorNetwork(num_parameters) if num_parameters else None
    return Estimator([], posterior, {}, {}, shapes, num_features)


def _default_summary(shape: UnitShape) -> Callable[[UnitShape], AbstractSummaryNetwork]:
    if shape.num_sequences:
        return SoftStateNetwork
    if shape.is_vector:
        return VectorNetwork
    if shape.is_scalar:
        return OrderStatisticsNetwork
    if shape.owner is not None or shape.num_features > _MAX_FEATURES_TO_CLUSTER:
        return DeepSet
    return SoftClusterNetwork
