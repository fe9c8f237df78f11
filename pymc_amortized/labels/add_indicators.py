"""Indicators for a posterior from anywhere: NUTS, ADVI, or a file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray

from torch import Tensor

from pymc_amortized.compat import result_of_groups
from pymc_amortized.data.dataset import Dataset
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import InvalidDataError, ParameterShapeError, UnsupportedModelError
from pymc_amortized.inference.answer import Answer
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.conditional import IndicatorDraws
from pymc_amortized.inference.indicators.kinds import condition_on_data
from pymc_amortized.inference.indicators.members import read_members
from pymc_amortized.inference.problem import Problem
from pymc_amortized.labels.detect import switching_of_draws
from pymc_amortized.messages import log_warning
from pymc_amortized.model.spec import ModelSpec, without_density
from pymc_amortized.results.builder import ResultBuilder, made_by
from pymc_amortized.results.reading import INDICATORS, SAMPLED, groups_with_posterior, sampled
from pymc_amortized.rng import RandomSeed, torch_generator
from pymc_amortized.simulation.compiling import compile_simulator

if TYPE_CHECKING:
    import pymc

__all__ = ["add_indicators", "memberships_of_result", "read_model", "with_indicators"]


def add_indicators(
    idata: Any,
    model: "pymc.Model | None" = None,
    *,
    random_seed: RandomSeed = None,
    device: str = "auto",
) -> Any:
    """Add the indicators of a mixture, or the states of a Markov chain, to any posterior.

    For each draw of the parameters one is drawn of every indicator, from its exact distribution
    given these and the data (of a chain, a joint path), and its probabilities are averaged over
    draws. This is what a sampler leaves out that has summed the indicators out.

    Parameters
    ----------
    idata : InferenceData or DataTree
        With a group ``posterior``, from any sampler. It is not changed.
    model : pymc.Model, optional
        That the draws are from, with its data. Default: the model of the surrounding ``with``
        block.
    random_seed : int, sequence of int, numpy.random.Generator or None
        As in PyMC.
    device : str
        Where to compute: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    InferenceData or DataTree
        A new one. Its group ``indicators`` has them, dims (chain, draw, *units). A scalar indicator
        is in ``posterior``, as are deterministics that need indicators. What the result had stays
        where it was. Its group ``indicator_probabilities`` has
        p(z_i = k given y), dims (*units, component), and of chains ``smoothing``, ``filtering``
        and the ``viterbi`` path under the most probable draw.

    Raises
    ------
    InvalidDataError
        If this is not a posterior, or one of other data than the model's.
    ParameterShapeError
        If parameters of the model are missing in it, or have other shapes.
    UnsupportedModelError
        If the model has no indicator, or no density.

    Notes
    -----
    Where components of the model are exchangeable, and labels switch in these draws, that is said
    in the log, at the level WARNING: probabilities are then averages over several labellings.
    Draws are worked on in pieces: memory is that of the draws of the indicators.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> import xarray
    >>> with pm.Model(coords={"unit": range(4)}) as model:
    ...     mu = pm.Normal("mu", [-2, 2], 1, shape=2)
    ...     y = pm.NormalMixture(
    ...         "y", w=[0.5, 0.5], mu=mu, sigma=1, observed=[-2.1, -1.9, 2.2, 1.8], dims="unit"
    ...     )

    A posterior from anywhere, ``pm.sample(model=model)`` for instance:

    >>> mu = xarray.DataArray([[[-2.0, 2.0]] * 50], dims=("chain", "draw", "component"))
    >>> idata = xarray.DataTree.from_dict({"posterior": xarray.Dataset({"mu": mu})})
    >>> found = pma.add_indicators(idata, model, random_seed=1)
    >>> found.indicators["y_component"].dims
    ('chain', 'draw', 'unit')
    >>> found.indicator_probabilities["y_component"].round(2).values.tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    groups = groups_with_posterior(idata)
    return result_of_groups(with_indicators(groups, read_model(model, device), random_seed))


def with_indicators(
    groups: dict[str, xarray.Dataset], problem: Problem, random_seed: RandomSeed
) -> dict[str, xarray.Dataset]:
    """Return the groups of a result with its indicators; see :func:`add_indicators`."""
    dataset, draws = _read_posterior(groups, problem)
    generator = torch_generator(random_seed, problem.device)
    indicators: dict[str, IndicatorDraws] = {}
    for spec in problem.spec.indicators:
        given = condition_on_data(problem, None, spec, dataset)
        indicators |= read_members(spec, given.draw(draws, generator))
    _require_possible(indicators)
    posterior = groups["posterior"]
    wanted = {
        *indicators,
        *(d.name for d in problem.spec.deterministics if d.depends_on_indicators),
    }
    builder = ResultBuilder(
        problem, [dataset], len(draws), posterior.sizes["chain"], wanted, single=True
    )
    builder.put(0, Answer(dataset, draws, indicators, own_data=True))
    changed = {
        "posterior": posterior.assign(_new(builder.posterior(), groups)),
        INDICATORS: _merged(groups, INDICATORS, _new(builder.indicators(), groups)),
        "indicator_probabilities": _merged(
            groups, "indicator_probabilities", builder.probabilities().data_vars
        ),
    }
    changed = {name: group for name, group in changed.items() if group.data_vars}
    if "relabelled_by" not in posterior.attrs:
        exchangeable, chains = problem.simulator.exchangeable, posterior.sizes["chain"]
        for switching in switching_of_draws(exchangeable, draws.parameters, chains):
            log_warning(repr(switching))
    return _insert(groups, changed)


def _new(
    drawn: xarray.Dataset, groups: Mapping[str, xarray.Dataset]
) -> dict[str, xarray.DataArray]:
    """Return what a result has not yet, in either group, with its numbers of chains and draws."""
    posterior, known = groups["posterior"], sampled(groups)
    coords = {dim: posterior[dim] for dim in SAMPLED if dim in posterior.coords}
    return {n: x.assign_coords(coords) for n, x in drawn.data_vars.items() if n not in known}


def _merged(
    groups: Mapping[str, xarray.Dataset], name: str, new: Mapping[str, xarray.DataArray]
) -> xarray.Dataset:
    """Return a group with more variables, whether it was there or not."""
    before = groups.get(name)
    return xarray.Dataset(new, attrs=made_by()) if before is None else before.assign(new)


def _require_possible(indicators: Mapping[str, IndicatorDraws]) -> None:
    """Refuse data that no component, or state, can have produced under some draws."""
    for name, drawn in indicators.items():
        unknown = drawn.probabilities.isnan().any(-1)
        if bool(unknown.any()):
            places = [tuple(place) for place in unknown.nonzero()[:3].tolist()]
            raise InvalidDataError(
                f"Expected data that some value of {name!r} can produce under each draw of the "
                f"parameters; {int(unknown.sum())} of {unknown.numel()} units have probability "
                f"zero under all of them, first at {places[0]}. Look for impossible values, such "
                "as a negative count, and whether this is a posterior of these data."
            )


def memberships_of_result(
    groups: dict[str, xarray.Dataset], problem: Problem, num_labels: int
) -> np.ndarray:
    """Return p(z_i = k given y, θ) (S, K, N) of each draw; of chains, smoothing.

    Raises
    ------
    UnsupportedModelError
        If the model has no indicator with so many components.
    """
    dataset, draws = _read_posterior(groups, problem)
    tables = []
    for spec in problem.spec.indicators:
        alike = [named for named in spec.named if named.num_components == num_labels]
        if not alike:
            continue
        pieces = list(condition_on_data(problem, None, spec, dataset).memberships(draws))
        for named in alike:
            own = pieces if named is spec else [named.digits.marginal(piece) for piece in pieces]
            tables.append(np.concatenate([_put_labels_first(piece) for piece in own]))
    if not tables:
        found = {i.name: i.num_components for i in problem.spec.named_indicators}
        raise UnsupportedModelError(
            f"Expected an indicator with {num_labels} components, as many as the component dim is "
            f"long; got {found}."
        )
    return tables[0] if len(tables) == 1 else np.concatenate(tables, axis=2)


def _put_labels_first(table: Tensor) -> np.ndarray:
    """Bring probabilities (s, *units, K) into (s, K, N)."""
    flat = table.reshape(len(table), -1, table.shape[-1])
    return np.ascontiguousarray(flat.transpose(1, 2).cpu().numpy())


def read_model(model: "pymc.Model | None", device: str = "auto") -> Problem:
    """Read the model that a posterior is from.

    Raises
    ------
    UnsupportedModelError
        If it has no indicator, or no density.
    """
    simulator = compile_simulator(model, device=device)
    spec = simulator.spec
    if not spec.indicators:
        raise UnsupportedModelError(
            "Expected a model with a mixture, a categorical variable or a Markov chain; this one "
            "has parameters only, so that there is no indicator to add."
        )
    if not spec.has_density:
        raise UnsupportedModelError(
            f"Expected a model with a density, from which indicators follow; "
            f"{without_density(spec)}. A network learns them from simulations:\n\n"
            "    idata = pma.fit(model).sample()"
        )
    layout = DataLayout(spec, simulator.covariates)
    return Problem.of_model(simulator, layout, simulator.parameters)


def _read_posterior(groups: dict[str, xarray.Dataset], problem: Problem) -> tuple[Dataset, Draws]:
    """Return the model's own data, and the draws of its parameters that a posterior holds.

    Raises
    ------
    InvalidDataError
        If the posterior is one of other data.
    ParameterShapeError
        If parameters are missing, have other shapes, or are not finite.
    """
    dataset = problem.read(None, any_size=True)
    _require_same_data(groups, problem)
    posterior, spec = groups["posterior"], problem.spec
    num_draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    parameters = {
        name: torch.as_tensor(values, device=problem.device)
        for name, values in _parameters(posterior, spec, num_draws).items()
    }
    vector = problem.space.unconstrain(parameters).expand(num_draws, -1)
    nothing = torch.zeros(num_draws, dtype=torch.float64, device=problem.device)
    log_joint = None
    if spec.structure == "sequence" and problem.space.size:
        frames = dataset.frames.to(problem.device)
        log_joint = problem.log_joint(vector.nan_to_num().unsqueeze(1), frames)[:, 0]
    draws = Draws(parameters, vector, log_joint, nothing, nothing > 0, "given")
    return dataset, draws


def _parameters(
    posterior: xarray.Dataset, spec: ModelSpec, num_draws: int
) -> dict[str, np.ndarray]:
    """Return draws (S, *shape) of each parameter."""
    missing = [p.name for p in spec.parameters if p.name not in posterior]
    if missing:
        raise ParameterShapeError(
            f"Expected draws of all parameters of the model; got none of {missing}. Give the "
            "model that the posterior is from, and draws of all of its variables."
        )
    found = {}
    for p in spec.parameters:
        values = posterior[p.name].transpose(*SAMPLED, ...).to_numpy()
        if values.shape[2:] != p.shape:
            raise ParameterShapeError(
                f"Expected {p.name!r} of shape {p.shape} in each draw, as in the model; got "
                f"{values.shape[2:]}. Give the model that the posterior is from."
            )
        if not np.isfinite(values).all():
            raise ParameterShapeError(
                f"Expected finite draws; {p.name!r} is NaN or infinite in some. Leave these out:"
                "\n\n    idata = idata.sel(draw=...)"
            )
        found[p.name] = values.reshape(num_draws, *p.shape).astype(np.float64)
    return found


def _require_same_data(groups: dict[str, xarray.Dataset], problem: Problem) -> None:
    observed = groups.get("observed_data", {})
    for name, own in problem.simulator.observed_data.items():
        if name not in observed:
            continue
        given = np.asarray(observed[name], dtype=float)
        if given.shape != own.shape or not np.allclose(given, own, equal_nan=True):
            raise InvalidDataError(
                f"Expected a posterior of the model's own data; its {name!r}, of shape "
                f"{given.shape}, is not that of the model, of shape {own.shape}. Give the model "
                "these data, by observed= or by pm.set_data, and call again."
            )


def _insert(
    groups: dict[str, xarray.Dataset], changed: dict[str, xarray.Dataset]
) -> dict[str, xarray.Dataset]:
    """Return groups with some of them changed, and new ones after the posterior."""
    ordered: dict[str, xarray.Dataset] = {}
    for name, group in groups.items():
        ordered[name] = changed.get(name, group)
        if name == "posterior":
            ordered |= {new: group for new, group in changed.items() if new not in groups}
    return ordered
