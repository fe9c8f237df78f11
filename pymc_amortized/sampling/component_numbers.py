"""How many components: models of several sizes, answered one after the other and compared."""

import html
import warnings

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import arviz
import numpy as np
import pymc

from pymc_amortized.compat import groups_of_result
from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError, InvalidDataError
from pymc_amortized.messages import warn
from pymc_amortized.rng import RandomSeed, numpy_generator
from pymc_amortized.sampling.amortized_sampler import sample

if TYPE_CHECKING:
    import pandas
    import pymc as pm

__all__ = ["NumberOfComponents", "number_of_components"]

_LARGEST_SEED = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class NumberOfComponents:
    """What data say of the number of components. Print it.

    Attributes
    ----------
    numbers : tuple of int
        The numbers K that were compared.
    results : dict of int to InferenceData or DataTree
        The answer with each of them.
    log_evidence, log_evidence_error : numpy.ndarray, shape (numbers,)
        log p(y given K) in nats, and its Monte Carlo error; NaN where an answer was not accepted.
    probabilities : numpy.ndarray, shape (numbers,)
        p(K given y), among the numbers whose evidence is known; NaN of others.
    comparison : pandas.DataFrame or None
        By leave-one-out cross-validation, as :func:`arviz.compare` gives it, the best first; None
        where units are not observed through one variable of several independent units.
    """

    numbers: tuple[int, ...]
    results: Mapping[int, Any]
    log_evidence: np.ndarray
    log_evidence_error: np.ndarray
    probabilities: np.ndarray
    comparison: "pandas.DataFrame | None"

    @property
    def best(self) -> int:
        """The most probable number; the first where no evidence is known."""
        return self.numbers[int(np.argmax(np.nan_to_num(self.probabilities, nan=-1.0)))]

    @property
    def best_by_loo(self) -> int | None:
        """The number with the largest expected log predictive density, if it was estimated."""
        return None if self.comparison is None else int(self.comparison.index[0])

    def table(self) -> "pandas.DataFrame":
        """Return a row for each number."""
        import pandas

        columns = {
            "probability": self.probabilities,
            "log_evidence": self.log_evidence,
            "log_evidence_error": self.log_evidence_error,
        }
        index = pandas.Index(self.numbers, name="components")
        frame = pandas.DataFrame(columns, index=index)
        if self.comparison is not None:
            # One name in each generation of ArviZ.
            elpd = next(c for c in ("elpd", "elpd_loo") if c in self.comparison)
            by_number = {int(k): float(v) for k, v in self.comparison[elpd].items()}
            frame["elpd_loo"] = [by_number[k] for k in self.numbers]
        return frame

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        first, *_ = self._lines()
        return f"<p><b>{html.escape(first)}</b></p>{self.table().round(3).to_html()}"

    def _lines(self) -> Iterator[str]:
        share = float(np.nanmax(self.probabilities, initial=0.0))
        loo = "" if self.best_by_loo is None else f"; by cross-validation {self.best_by_loo}"
        yield f"Most probable number of components: {self.best} (p = {share:.2f}){loo}"
        yield self.table().round(3).to_string()


def number_of_components(
    build: "Callable[[int], pm.Model]",
    numbers: Sequence[int] = (1, 2, 3, 4, 5, 6),
    *,
    prior: Sequence[float] | None = None,
    compare: bool = True,
    random_seed: RandomSeed = None,
    progressbar: bool = True,
    **options: Any,
) -> NumberOfComponents:
    r"""Compare models with different numbers of components, by their evidences.

    .. math:: p(K \mid y) \propto p(K)\, p(y \mid K)

    Each model is answered by :func:`pymc_amortized.sample`, whose importance weights give its
    evidence. Priors of parameters count: the wider they are, the less probable are many components.
    Cross-validation is put beside it, which asks another question, of prediction, and leans to
    more components.

    Parameters
    ----------
    build : callable
        Takes a number of components and returns a model with the same data each time. With one,
        write the model without a mixture.
    numbers : sequence of int
        Which numbers, each once.
    prior : sequence of float, optional
        p(K), up to a constant. Default: all are equally probable.
    compare : bool
        Whether to put :func:`arviz.compare` beside it.
    random_seed : int, sequence of int, numpy.random.Generator or None
        As in PyMC.
    progressbar : bool
        Whether to show what each answer is at.
    **options
        Of :func:`pymc_amortized.sample`, such as ``draws``, ``labels``, or ``max_time`` of each.

    Returns
    -------
    NumberOfComponents
        With the answers, ``probabilities``, ``comparison``, ``table()`` and ``best``.

    Raises
    ------
    InvalidArgumentError
        If there are not at least two different numbers, or the prior is none of them.
    InvalidDataError
        If models hold different data.

    Warns
    -----
    AccuracyWarning
        If an answer is not accepted, so that its evidence is not known.
    UserWarning
        If cross-validation prefers another number.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> y = np.r_[np.linspace(-3, -2, 15), np.linspace(2, 3, 15)]
    >>> def build(num_components):
    ...     with pm.Model() as model:
    ...         if num_components == 1:
    ...             mu = pm.Normal("mu", 0, 3)
    ...             pm.Normal("y", mu, 0.5, observed=y)
    ...         else:
    ...             w = np.full(num_components, 1 / num_components)
    ...             mu = pm.Normal("mu", 0, 3, shape=num_components)
    ...             pm.NormalMixture("y", w, mu, 0.5, observed=y)
    ...     return model
    >>> found = pma.number_of_components(build, (1, 2), random_seed=1, progressbar=False, draws=500)
    >>> found.best, found.probabilities.round(2).tolist()
    (2, [0.0, 1.0])
    """
    numbers, log_prior = _check(numbers, prior)
    generator = numpy_generator(random_seed)
    results, data = {}, None
    for number in numbers:
        model = build(number)
        data = _require_same_data(model, number, data)
        seed = int(generator.integers(_LARGEST_SEED))
        kwargs = dict(options.get("idata_kwargs") or {})
        if compare:
            kwargs["log_likelihood"] = True
        given = {**options, "idata_kwargs": kwargs}
        results[number] = sample(model=model, random_seed=seed, progressbar=progressbar, **given)
    evidence = np.array([_evidence(result) for result in results.values()])
    found = NumberOfComponents(
        numbers=numbers,
        results=results,
        log_evidence=evidence[:, 0],
        log_evidence_error=evidence[:, 1],
        probabilities=_probabilities(log_prior + evidence[:, 0]),
        comparison=_compare(results) if compare else None,
    )
    _warn_of_doubt(found)
    return found


def _check(
    numbers: Sequence[int], prior: Sequence[float] | None
) -> tuple[tuple[int, ...], np.ndarray]:
    """Return numbers, and the logarithm of their prior."""
    whole = all(isinstance(k, int | np.integer) and k >= 1 for k in numbers)
    if not whole or len(set(numbers)) != len(numbers) or len(numbers) < 2:
        raise InvalidArgumentError(
            f"Expected at least two different numbers of components, from 1 on; got {numbers!r}. "
            "For instance:\n\n    pma.number_of_components(build, range(1, 7))"
        )
    weights = np.ones(len(numbers)) if prior is None else np.asarray(prior, dtype=float)
    if weights.shape != (len(numbers),) or not (weights >= 0).all() or not weights.sum() > 0:
        raise InvalidArgumentError(
            f"Expected a prior probability for each of {tuple(numbers)}; got {prior!r}."
        )
    with np.errstate(divide="ignore"):
        return tuple(int(k) for k in numbers), np.log(weights / weights.sum())


def _require_same_data(
    model: "pm.Model", number: int, before: dict[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Return the data of a model; evidences of different data cannot be compared."""
    if not isinstance(model, pymc.Model):
        raise InvalidArgumentError(
            f"Expected `build({number})` to return a pymc.Model; got {type(model).__name__}. Let "
            "it end with:\n\n    return model"
        )
    values = {v.name: model.rvs_to_values[v] for v in model.observed_RVs}
    data = {name: np.asarray(value.eval()) for name, value in values.items()}
    same = before is None or (
        data.keys() == before.keys()
        and all(np.array_equal(x, before[name]) for name, x in data.items())
    )
    if not same:
        raise InvalidDataError(
            "Expected models of the same data, whose evidences can be compared; those of "
            f"`build({number})`, {sorted(data)}, differ from those before it. Draw or load data "
            "outside of the function, and give variables the same names each time."
        )
    return data


def _attributes(result: Any) -> Mapping[str, Any]:
    """Return facts of an answer, wherever this generation of ArviZ keeps them."""
    return groups_of_result(result)["posterior"].attrs


def _evidence(result: Any) -> tuple[float, float]:
    attrs = _attributes(result)
    if attrs.get("checked") != "accepted":
        return np.nan, np.nan
    return float(attrs["log_evidence"]), float(attrs["log_evidence_error"])


def _probabilities(log_p: np.ndarray) -> np.ndarray:
    """Normalize, among those that are known."""
    if np.isnan(log_p).all():
        return log_p
    p = np.exp(log_p - np.nanmax(log_p))
    return p / np.nansum(p)


def _compare(results: Mapping[int, Any]) -> "pandas.DataFrame | None":
    """Compare by cross-validation, where there is one variable of several units."""
    for result in results.values():
        variables = list(groups_of_result(result)["log_likelihood"].data_vars.values())
        if len(variables) != 1 or variables[0].ndim < 3:
            return None
    with warnings.catch_warnings():
        # Of what ArviZ calls, which is not the user's.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return arviz.compare({str(number): result for number, result in results.items()})


def _warn_of_doubt(found: NumberOfComponents) -> None:
    unknown = [k for k, x in zip(found.numbers, found.log_evidence, strict=True) if np.isnan(x)]
    if unknown:
        warn(
            f"The evidence of {unknown} components is not known, for their answers were not "
            "accepted; probabilities are among the others alone. Train for these models, or give "
            "them more time.",
            AccuracyWarning,
        )
    if found.best_by_loo not in (None, found.best):
        warn(
            f"Evidence prefers {found.best} components, and cross-validation {found.best_by_loo}: "
            "the first asks which model, priors included, has produced the data, the second which "
            "one predicts new data. See both:\n\n    found.table(); found.comparison",
            UserWarning,
        )
