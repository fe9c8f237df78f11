"""Networks for a model: built anew, or put together again from numbers."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from torch import Tensor

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import Sizes
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.problem import Problem
from pymc_amortized.inference.typicality import Coverage, SummaryReference
from pymc_amortized.model.normal_scores import NormalScores
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.spec import without_density
from pymc_amortized.networks.build import Networks, build_estimator, prior_estimator
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.simulation.simulator import Simulator

__all__ = ["assemble", "inference_from_tensors", "lay_out", "problem_in_scores", "untrained"]

_NUM_FOR_SCALES = 20_000
_CLASSIFIERS = ("estimator.classifiers.", "estimator.path_networks.")
_SCALES = ("estimator.parameter_scaling.", "estimator.scaling.")  # that no network is without


def assemble(
    simulator: Simulator,
    sizes: Sizes,
    networks: Networks | None,
    seed: int,
    *,
    classified: bool = False,
) -> tuple[DataLayout, Estimator]:
    """Lay out the data of a model, and build the networks for them, untrained.

    Indicators are classified where nothing else tells them: where there is no density, where
    ``networks`` name how, or where they were before (``classified``).

    Raises
    ------
    UnsupportedModelError
        If networks for this kind of model do not exist.
    """
    layout, spec = lay_out(simulator, sizes), simulator.spec
    shapes, space = layout.shapes, simulator.parameters
    asked = networks is not None and networks.classification is not None
    if simulator.density is not None and not asked and not classified:
        shapes = tuple(replace(shape, learns="nothing") for shape in shapes)
    estimator = build_estimator(shapes, space.size, space.num_features, networks, seed)
    for indicator in spec.indicators:
        index = layout.table_of(indicator.name)
        if not spec.has_density and index not in estimator.classified:
            raise UnsupportedModelError(
                f"Expected the units of {indicator.name!r} to be observed in one table of rows, "
                "as the classification network sees them; they are observed in several of "
                "different lengths, and without a density their indicators cannot be computed "
                "otherwise. Give what has none a density:\n\n"
                '    pm.CustomDist("y", *parameters, logp=logp, random=random, observed=data)'
            )
    return layout, estimator.to(simulator.device)


def untrained(simulator: Simulator, sizes: Sizes, seed: int) -> tuple[DataLayout, Amortized]:
    """Lay out the data of a model, and have its prior stand for a network.

    Raises
    ------
    UnsupportedModelError
        If the model has no density, so that nothing can be answered without training.
    """
    layout = lay_out(simulator, sizes)
    problem = problem_in_scores(simulator, layout, seed)
    if problem.exact is None:
        raise UnsupportedModelError(
            "Expected a model whose density is known, to answer without training; "
            f"{without_density(simulator.spec)}. Train a network:\n\n"
            '    pma.fit(model, training="default")'
        )
    return layout, Amortized.of_networks(problem, _stand_in(simulator, layout))


def _stand_in(simulator: Simulator, layout: DataLayout) -> Estimator:
    space = simulator.parameters
    estimator = prior_estimator(layout.shapes, space.size, space.num_features)
    return estimator.to(simulator.device).eval()


def problem_in_scores(simulator: Simulator, layout: DataLayout, seed: int) -> Problem:
    """Return the problem of a model, with normal scores that are fitted to its prior."""
    space = simulator.parameters
    if space.size:
        prior = simulator.sample_parameters(_NUM_FOR_SCALES, np.random.default_rng([seed, 3]))
        space = space.with_normal_scores(prior)
    return Problem.of_model(simulator, layout, space)


def lay_out(simulator: Simulator, sizes: Sizes) -> DataLayout:
    """Lay out the data of a model for networks.

    Raises
    ------
    UnsupportedModelError
        If there is nothing to infer, or if rows of a chain are no time points.
    """
    spec = simulator.spec
    if not spec.parameters and not spec.indicators:
        raise UnsupportedModelError(
            "Expected a model with parameters or indicators; this one has neither, so that there "
            'is nothing to infer. Give what is not known a prior:\n\n    mu = pm.Normal("mu", 0, 1)'
        )
    layout = DataLayout(spec, simulator.covariates, sizes)
    for table in layout.tables:
        if table.is_sequence and table.grouped:
            raise UnsupportedModelError(
                f"Expected the rows of {table.name!r} to be the time points of "
                f"{table.indicator.name!r}; they are others, so that several may belong to one "
                "time point. Give each time point a row, with as many values as there are at most, "
                "and mask those that are missing:\n\n"
                f"    pm.Normal({table.name!r}, mu[z][:, None], sigma, "
                "observed=np.ma.masked_invalid(values_of_each_time_point))"
            )
    return layout


def inference_from_tensors(
    simulator: Simulator,
    tensors: Mapping[str, Tensor],
    sizes: Sizes,
    networks: Networks | None,
) -> Amortized:
    """Put a network together again.

    Parameters
    ----------
    simulator : Simulator
        The model, in the order that the network was trained in.
    tensors : mapping of str to Tensor
        What :meth:`Amortized.tensors` returned.
    sizes : mapping of str to (int, int)
        Numbers of units that the network was trained for.
    networks : Networks, optional
        Which networks these are, if the user had chosen them.

    Raises
    ------
    RuntimeError, KeyError
        If the numbers do not fit the networks.
    """
    simulator = _with_likelihood(simulator, tensors)
    if all(name.startswith(_SCALES) for name in tensors if name.startswith("estimator.")):
        layout = lay_out(simulator, sizes)
        estimator = _stand_in(simulator, layout)
    else:
        known = any(name.startswith(_CLASSIFIERS) for name in tensors)
        layout, estimator = assemble(simulator, sizes, networks, 0, classified=known)

    def part(prefix: str) -> dict[str, Tensor]:
        device = simulator.device
        return {
            name.removeprefix(prefix): x.to(device)
            for name, x in tensors.items()
            if name.startswith(prefix)
        }

    estimator.load_state_dict(part("estimator."))
    estimator.eval()
    scores = part("normal_scores.")
    space = simulator.parameters
    if scores:
        space = ParameterSpace(space.specs, space.bijections, NormalScores(**scores))
    reference, counts = part("reference."), part("coverage.").get("counts")
    inference = Amortized.of_networks(
        Problem.of_model(simulator, layout, space),
        estimator,
        SummaryReference(**reference) if reference else None,
        atoms=_known_atoms(simulator, part("atoms.")),
    )
    return inference if counts is None else replace(inference, coverage=Coverage(*counts.tolist()))


def _with_likelihood(simulator: Simulator, tensors: Mapping[str, Tensor]) -> Simulator:
    """Return a simulator with the densities that were learned for it, if there are any."""
    parts: dict[int, dict[str, Tensor]] = {}
    for name, x in tensors.items():
        if name.startswith("likelihood."):
            _, index, rest = name.split(".", 2)
            parts.setdefault(int(index), {})[rest] = x
    if not parts:
        return simulator
    names = [unknown.name for unknown in simulator.unknown_distributions]
    networks = {name: LikelihoodNetwork.of_tensors(parts[i]) for i, name in enumerate(names)}
    return simulator.with_likelihood(networks)


def _known_atoms(simulator: Simulator, found: Mapping[str, Tensor]) -> dict[str, np.ndarray] | None:
    """Return values that continuous variables repeat; None of a file that does not hold them."""
    continuous = [o.name for o in simulator.spec.observations if np.dtype(o.dtype).kind == "f"]
    if any(name not in found for name in continuous):
        return None
    return {name: x.cpu().numpy() for name, x in found.items()}
