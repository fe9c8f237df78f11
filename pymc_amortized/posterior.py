"""The object that users hold: a trained network, and the answers that it gives."""

import html
import json
import math
import os
import time
import warnings

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.checkpoint import read_file, write_file
from pymc_amortized.compile.spec import ModelSpec
from pymc_amortized.errors import (
    AccuracyWarning,
    NetworkFileError,
    SamplerArgumentError,
    UnsupportedModelError,
)
from pymc_amortized.estimator import Estimator, Networks, build_estimator
from pymc_amortized.inference import (
    Correction,
    Draws,
    Inference,
    check_correction,
    check_count,
)
from pymc_amortized.inference_data import Answer, inference_data, probabilities_dataset
from pymc_amortized.layout import DataLayout, Sizes
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.rng import RandomSeed, torch_generator
from pymc_amortized.simulator import Simulator
from pymc_amortized.training import TrainingConfig
from pymc_amortized.transforms import NormalScores
from pymc_amortized.version import package_versions

if TYPE_CHECKING:
    import xarray

__all__ = [
    "AmortizedPosterior",
    "TrainingRecord",
    "assemble",
    "posterior_from_file",
    "posterior_from_tensors",
]

_IDATA_KWARGS = ("log_likelihood", "log_prior")
_DRAWS_FOR_PROBABILITIES = 1_000


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How a network came about, and how good it is.

    Attributes
    ----------
    fingerprint : str
        Of the model, the sizes, the configuration and the versions.
    parts : dict of str to str
        Fingerprints of the parts of the model.
    versions : dict of str to str
        Of the packages.
    sizes : dict of str to tuple
        As asked for.
    config : TrainingConfig
        How it was trained.
    steps, skipped : int
        Steps taken, and those left out because they were not finite.
    seconds : float
        That training took.
    interrupted : bool
        Whether training was stopped by the user.
    validation_loss : float
        In nats per data set.
    accepted_share : float
        Share of fresh simulated data sets with Pareto k below 0.7; NaN without a density.
    history : tuple of dict
        The validation loss over time.
    """

    fingerprint: str
    parts: dict[str, str]
    versions: dict[str, str]
    sizes: dict[str, tuple[int, int]]
    config: TrainingConfig
    steps: int
    skipped: int
    seconds: float
    interrupted: bool
    validation_loss: float
    accepted_share: float
    history: tuple[dict[str, float], ...]

    def as_record(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "TrainingRecord":
        """Undo :meth:`as_record`."""
        return TrainingRecord(
            **{
                **record,
                "config": TrainingConfig(**record["config"]),
                "sizes": {name: tuple(size) for name, size in record["sizes"].items()},
                "history": tuple(record["history"]),
            }
        )


class AmortizedPosterior:
    """A network trained for a model, which answers any data set of it.

    Built by :func:`pymc_amortized.fit` and :func:`pymc_amortized.load`.

    Attributes
    ----------
    record : TrainingRecord
        How it was trained, and how good it is.
    inference : Inference
        What draws.
    """

    def __init__(self, inference: Inference, record: TrainingRecord) -> None:
        self.inference = inference
        self.record = record

    @property
    def spec(self) -> ModelSpec:
        """The reading of the model."""
        return self.inference.simulator.spec

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """Validation loss at each check of the training: step, seconds, and both terms in nats."""
        return self.record.history

    def sample(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        draws: int = 1000,
        chains: int = 4,
        correction: Correction = "auto",
        random_seed: RandomSeed = None,
        var_names: Sequence[str] | None = None,
        idata_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Draw parameters and indicators for one data set.

        Parameters
        ----------
        data : mapping of str to array, optional
            Every observed variable by name, of a size trained for; and covariates, if the network
            was trained with ``sizes``. Missing values as masked arrays. Default: the data of the
            model.
        draws, chains : int
            As in PyMC. Draws are independent; chains only divide them.
        correction : {"auto", "none", "importance"}
            ``"auto"`` weighs the network's draws against the model's density and resamples them
            where the weights can be relied on (Pareto k at most 0.7), and otherwise returns them as
            they are, with a warning. ``"none"`` never weighs them; ``"importance"`` always.
        random_seed : int, sequence of int, numpy.random.Generator or None
            As in PyMC.
        var_names : sequence of str, optional
            Which variables to keep.
        idata_kwargs : mapping, optional
            ``{"log_likelihood": True}`` adds the log likelihood of each unit, indicators summed
            out; ``{"log_prior": True}`` the log prior, as PyMC computes it.

        Returns
        -------
        InferenceData or DataTree
            With ``posterior``, ``indicator_probabilities``, ``sample_stats``, ``observed_data``.

        Raises
        ------
        ObservationShapeError
            If the data have a size or shape that the network was not trained for.
        InvalidDataError
            If names, types or values cannot be right.

        Warns
        -----
        AccuracyWarning
            If the answer could not be checked, or was rejected.

        Examples
        --------
        >>> import pymc as pm
        >>> import pymc_amortized as pma
        >>> with pm.Model() as model:
        ...     p = pm.Beta("p", 2, 2)
        ...     z = pm.Bernoulli("z", p, shape=20)
        ...     y = pm.Normal("y", 4.0 * z, 1, observed=[0.0] * 10 + [4.0] * 10)
        >>> config = pma.TrainingConfig(steps=200)
        >>> posterior = pma.fit(
        ...     model, training=config, random_seed=1, progressbar=False, cache=False
        ... )
        >>> idata = posterior.sample(draws=500, correction="none", random_seed=1)
        >>> idata.posterior["z"].sizes["chain"]
        4
        >>> abs(float(idata.posterior["p"].mean()) - 0.5) < 0.1
        True
        """
        draws, chains = check_count("draws", draws), check_count("chains", chains)
        check_correction(correction)
        kwargs = _checked_idata_kwargs(idata_kwargs, self)
        started = time.perf_counter()
        answer = self._answer(data, draws * chains, chains, correction, random_seed)
        seconds = time.perf_counter() - started
        self._warn(answer.draws, correction)
        return inference_data(
            self.inference.simulator,
            answer,
            var_names=var_names,
            attrs=self._attrs(answer, seconds, correction),
            exact=self.inference.exact,
            log_likelihood=bool(kwargs.get("log_likelihood")),
            log_prior=bool(kwargs.get("log_prior")),
        )

    def indicator_probabilities(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        correction: Correction = "auto",
        random_seed: RandomSeed = None,
    ) -> "xarray.Dataset":
        """Return p(z_i = k given y) of every unit, averaged over 1,000 draws of the parameters.

        Parameters
        ----------
        data, correction, random_seed
            As in :meth:`sample`.

        Returns
        -------
        xarray.Dataset
            For each indicator, dims (*units, component).
        """
        if not self.spec.indicators:
            raise UnsupportedModelError(
                "Expected a model with indicators; this one has parameters only. See them by:\n\n"
                "    posterior.sample().posterior"
            )
        check_correction(correction)
        answer = self._answer(data, _DRAWS_FOR_PROBABILITIES, 1, correction, random_seed)
        self._warn(answer.draws, correction)
        return probabilities_dataset(self.inference.simulator, answer)

    def log_prob(
        self, parameters: Mapping[str, Any], data: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """Return the network's own log density of parameters given a data set.

        Parameters
        ----------
        parameters : mapping of str to array, shape (S, *shape)
            Constrained parameters by name, S draws of each.
        data : mapping of str to array, optional
            As in :meth:`sample`.

        Returns
        -------
        numpy.ndarray, shape (S,)
            log q(θ given y) in nats, over PyMC's unconstrained parameters.

        Raises
        ------
        ParameterShapeError
            If a parameter is missing or has another shape than the model's.
        """
        inference = self.inference
        layout, device = inference.layout, inference.device
        dataset = inference.read(data)
        tensors = {
            name: torch.as_tensor(np.asarray(x, dtype=float), device=device)
            for name, x in parameters.items()
        }
        with torch.no_grad():
            vector = inference.space.unconstrain(tensors)
            scores, log_det = inference.space.standardize(vector)
            units = [u.to(device) for u in layout.units(dataset.smooth)]
            context = inference.estimator.context(inference.estimator.scaled(units))
            repeated = context.expand(scores.shape[0], -1)
            log_q = inference.estimator.log_prob(scores.float(), repeated).double() + log_det
        return log_q.cpu().numpy()

    def save(self, path: str | os.PathLike) -> None:
        """Write the network to a file, to be read by :func:`pymc_amortized.load`.

        Parameters
        ----------
        path : str or PathLike
            Where to. An existing file is replaced, at once.
        """
        write_file(path, self.tensors(), self.record.as_record())

    def tensors(self) -> dict[str, Tensor]:
        """Return all numbers of the network by name."""
        tensors = {
            f"estimator.{name}": x for name, x in self.inference.estimator.state_dict().items()
        }
        scores = self.inference.space.normal_scores
        if scores is not None:
            for name in ("knots", "scores", "slopes"):
                tensors[f"normal_scores.{name}"] = getattr(scores, name)
        return tensors

    def __repr__(self) -> str:
        return "\n".join([self._headline(), *(f"  {k}: {v}" for k, v in self._facts().items())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in self._facts().items()
        )
        return f"<p><b>{html.escape(self._headline())}</b></p><table>{rows}</table>"

    def _headline(self) -> str:
        return f"AmortizedPosterior of {', '.join(o.name for o in self.spec.observations)}"

    def _facts(self) -> dict[str, str]:
        record = self.record
        facts = {
            "parameters": ", ".join(p.name for p in self.spec.parameters) or "none",
            "indicators": ", ".join(i.name for i in self.spec.indicators) or "none",
            "units": ", ".join(
                f"{t.name} {t.sizes[0]:,}"
                + ("" if len(set(t.sizes)) == 1 else f" to {t.sizes[1]:,}")
                for t in self.inference.layout.tables
            ),
            "trained": f"{record.steps:,} steps of {record.config.batch_size} data sets in "
            f"{record.seconds:.0f} s" + (", then interrupted" if record.interrupted else ""),
            "validation loss": f"{record.validation_loss:.3f} nats",
        }
        if math.isnan(record.accepted_share):
            facts["accuracy"] = f"cannot be checked: {self._why_unchecked()}"
        else:
            facts["accuracy"] = (
                f"Pareto k below 0.7 for {record.accepted_share:.0%} of fresh simulated data sets"
            )
        return facts

    def _why_unchecked(self) -> str:
        reasons = [
            f"{o.name} has no density ({o.density})" for o in self.spec.observations if o.density
        ]
        return "; ".join(reasons) or "there was nothing to check"

    def _answer(
        self,
        data: Mapping[str, Any] | None,
        num_draws: int,
        chains: int,
        correction: Correction,
        random_seed: RandomSeed,
    ) -> Answer:
        inference = self.inference
        dataset = inference.read(data)
        if correction == "importance" and inference.exact is None:
            raise UnsupportedModelError(
                f"Expected a density to weigh draws with; {self._why_unchecked()}. Take the draws "
                'as they are:\n\n    posterior.sample(correction="none")'
            )
        generator = torch_generator(random_seed, inference.device)
        draws = inference.draw_parameters(dataset, num_draws, correction, generator)
        indicators = {
            spec.name: inference.draw_indicators(spec, dataset, draws, generator)
            for spec in self.spec.indicators
        }
        return Answer(dataset, draws, indicators, chains, own_data=data is None)

    def _warn(self, draws: Draws, correction: Correction) -> None:
        if self.inference.exact is None:
            warnings.warn(
                f"This answer could not be checked: {self._why_unchecked()}. It is the network's, "
                "as it was trained.",
                AccuracyWarning,
                stacklevel=3,
            )
        elif draws.accepted is False:
            warnings.warn(
                f"The network's draws are not accurate enough for these data: Pareto k is "
                f"{draws.pareto_k:.2f} (at most 0.70 can be relied on), and the importance ESS "
                f"{draws.importance_ess:.0f} of {draws.num_proposals:,}. They are returned "
                + ("as they are" if draws.rung == "network" else "weighted")
                + ", and should not be trusted in detail. Train longer:\n\n"
                '    pma.fit(model, training="thorough")',
                AccuracyWarning,
                stacklevel=3,
            )

    def _attrs(self, answer: Answer, seconds: float, correction: str) -> dict[str, Any]:
        draws, record = answer.draws, self.record
        checked = {None: "no", True: "accepted", False: "rejected"}[draws.accepted]
        attrs = {
            "inference_library_version": record.versions["pymc_amortized"],
            "sampling_time": seconds,
            "training_time": record.seconds,
            "tuning_steps": 0,
            "rung": draws.rung,
            "checked": checked,
            "pareto_k": draws.pareto_k,
            "importance_ess": draws.importance_ess,
            "num_proposals": draws.num_proposals,
            "num_distinct_draws": draws.num_distinct,
            "validation_accepted_share": record.accepted_share,
            "network_fingerprint": record.fingerprint,
            "settings": json.dumps({"correction": correction, "training": asdict(record.config)}),
        }
        if self.inference.exact is None:
            attrs["not_checked_because"] = self._why_unchecked()
        for name, indicator in answer.indicators.items():
            attrs[f"classification_gap_{name}"] = indicator.gap
        return attrs


def _checked_idata_kwargs(
    kwargs: Mapping[str, Any] | None, posterior: AmortizedPosterior
) -> Mapping[str, Any]:
    kwargs = kwargs or {}
    unknown = [name for name in kwargs if name not in _IDATA_KWARGS]
    if unknown:
        raise SamplerArgumentError(
            f"Expected idata_kwargs among {list(_IDATA_KWARGS)}; got {unknown[0]!r}."
        )
    if any(kwargs.values()) and posterior.inference.exact is None:
        raise UnsupportedModelError(
            f"Expected a density for the log likelihood and the log prior; "
            f"{posterior._why_unchecked()}. Leave them out of idata_kwargs."
        )
    return kwargs


def assemble(
    simulator: Simulator, sizes: Sizes, networks: Networks | None, seed: int
) -> tuple[DataLayout, Estimator]:
    """Lay out the data of a model, and build the networks for them, untrained.

    Raises
    ------
    UnsupportedModelError
        If networks for this kind of model do not exist.
    """
    spec = simulator.spec
    if spec.structure == "sequence":
        raise UnsupportedModelError(
            "Expected independent indicators; this model holds a Markov chain, for which there "
            "are no networks yet. Its exact filtering and smoothing are in "
            "pymc_amortized.markov; simulate and evaluate it by:\n\n"
            "    simulator = pma.compile_simulator(model)"
        )
    if not spec.parameters and not spec.indicators:
        raise UnsupportedModelError(
            "Expected a model with parameters or indicators; this one has neither, so that there "
            "is nothing to infer."
        )
    layout = DataLayout(spec, simulator.covariates, sizes)
    estimator = build_estimator(
        layout.tables, simulator.parameters.size, simulator.parameters.num_features, networks, seed
    )
    for indicator in spec.indicators:
        index = layout.table_of(indicator.name)
        if not spec.has_density and (index is None or str(index) not in estimator.classifiers):
            raise UnsupportedModelError(
                f"Expected the units of {indicator.name!r} to be observed in one table of rows, "
                "as the classification network sees them; they are observed in several of "
                "different lengths, and without a density their indicators cannot be computed "
                "otherwise. Give the component a density:\n\n"
                '    pm.CustomDist("y", ..., logp=logp, random=random)'
            )
    return layout, estimator.to(simulator.device)


def posterior_from_tensors(
    simulator: Simulator,
    tensors: Mapping[str, Tensor],
    record: TrainingRecord,
    networks: Networks | None,
) -> AmortizedPosterior:
    """Put a network together again.

    Raises
    ------
    RuntimeError, KeyError
        If the numbers do not fit the networks.
    """
    layout, estimator = assemble(simulator, record.sizes, networks, 0)

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
    return AmortizedPosterior(Inference(simulator, layout, space, estimator), record)


def posterior_from_file(
    path: str | os.PathLike, simulator: Simulator, networks: Networks | None
) -> AmortizedPosterior:
    """Read a network from a file, for the model that it was trained for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NetworkFileError
        If the file is damaged, newer than this package, or for another model.
    """
    tensors, content = read_file(path)
    try:
        record = TrainingRecord.from_record(content)
    except (TypeError, KeyError, AttributeError) as error:
        raise NetworkFileError(
            f"Expected a trained network; {str(path)!r} holds something else, such as a checkpoint "
            "of an unfinished training.",
            str(path),
        ) from error
    _require_same_model(path, record, simulator)
    try:
        return posterior_from_tensors(simulator, tensors, record, networks)
    except (RuntimeError, KeyError) as error:
        raise NetworkFileError(
            f"Expected the networks that {str(path)!r} was trained with; got others. Pass the "
            "same:\n\n    pma.load(path, model, networks=networks)",
            str(path),
        ) from error


def _require_same_model(
    path: str | os.PathLike, record: TrainingRecord, simulator: Simulator
) -> None:
    trained, here = record.parts, simulator.fingerprint
    differences = tuple(
        f"{name} "
        + ("is new" if name not in trained else "is gone" if name not in here else "differs")
        for name in {**trained, **here}
        if trained.get(name) != here.get(name)
    )
    if not differences:
        return
    from_elsewhere = [
        f"{name} {record.versions[name]}"
        for name in ("pymc", "pytensor")
        if record.versions.get(name) != package_versions()[name]
    ]
    hint = (
        f" It was trained with {' and '.join(from_elsewhere)}, which may write the same model down "
        "differently."
        if from_elsewhere
        else ""
    )
    raise NetworkFileError(
        f"Expected the model that {str(path)!r} was trained for; in this one "
        f"{', '.join(differences)}.{hint} Train for this model:\n\n    pma.fit(model)",
        str(path),
        differences,
    )
