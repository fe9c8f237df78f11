"""The object that users hold: a trained network, and the answers that it gives."""

import os

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.diagnostics.around import calibrate_around
from pymc_amortized.diagnostics.calibration_report import CalibrationReport
from pymc_amortized.diagnostics.check import calibrate
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.arguments import check_count, check_request, require_chains
from pymc_amortized.inference.draws import Correction
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.results.delivery import Delivery
from pymc_amortized.results.network_report import network_html, network_text
from pymc_amortized.rng import RandomSeed, torch_generator
from pymc_amortized.state_filter import StateFilter
from pymc_amortized.symmetry.answer_labels import Labels, check_labels
from pymc_amortized.training.files import write_file
from pymc_amortized.training.record import TrainingRecord

__all__ = ["AmortizedPosterior"]


class AmortizedPosterior:
    """A network trained for a model, which answers any data set of it: see :func:`fit`.

    Attributes
    ----------
    record : TrainingRecord
        How it was trained, and how good it is.
    inference : Amortized
        What draws.
    """

    def __init__(self, inference: Amortized, record: TrainingRecord) -> None:
        self.inference, self.record = inference.only_for(record.data), record
        self._delivery = Delivery(self.inference, record)

    @property
    def spec(self) -> ModelSpec:
        """The reading of the model."""
        return self.inference.problem.spec

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """Step, seconds, and terms of the validation loss in nats, check by check."""
        return self.record.history

    def sample(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        draws: int = 1000,
        chains: int = 4,
        correction: Correction = "auto",
        acceptance: AcceptanceRule | None = None,
        labels: Labels = "canonical",
        max_time: float | None = None,
        random_seed: RandomSeed = None,
        progressbar: bool = True,
        var_names: Sequence[str] | None = None,
        idata_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Draw parameters and indicators for one data set.

        Parameters
        ----------
        data : mapping of str to array, optional
            Observed variables by name, of a size trained for; and covariates, if the network was
            trained with ``sizes``. Missing values as masked arrays. Default: those of the model.
        draws, chains, random_seed, progressbar
            As in PyMC. Draws are independent: chains divide them. Progress shows after a second.
        correction : {"auto", "none", "importance", "adaptive", "smc", "mcmc"}
            How the exact density corrects the network's draws: not at all; by weights; by mixtures
            fitted to weighted draws; by particles from the prior instead (sequential Monte Carlo);
            by NUTS. ``"auto"`` climbs from one to the next until they are accepted.
        acceptance : AcceptanceRule, optional
            When draws are accepted. Default: by the usual thresholds, and a second estimate.
        labels : {"canonical", "symmetric"}
            Of exchangeable components: in ascending order of one parameter (``order_by`` of
            :func:`pymc_amortized.fit`), or permuted at random, as in the posterior of the model.
        max_time : float, optional
            Seconds after which the best draws so far are returned, not accepted; likewise if you
            interrupt. MCMC chains are not compiled when fewer than 20 are left.
        var_names : sequence of str, optional
            Which variables to keep. Indicators that none of them needs are not drawn.
        idata_kwargs : mapping, optional
            ``{"log_likelihood": True, "log_prior": True}`` adds the log likelihood of each unit,
            indicators summed out, and the log prior, as PyMC computes it.

        Returns
        -------
        InferenceData or DataTree
            ``posterior``, ``indicators``, ``indicator_probabilities``, ``sample_stats``, ...

        Raises
        ------
        ObservationShapeError or InvalidDataError
            If the network was not trained for their size or shape, or values cannot be right.

        Warns
        -----
        AccuracyWarning
            If the answer could not be checked, or was rejected.
        AtypicalDataWarning
            If the data lie farther from simulated ones than 99 in 100 of these do.

        Examples
        --------
        >>> import pymc as pm
        >>> import pymc_amortized as pma
        >>> with pm.Model() as model:
        ...     p = pm.Beta("p", 2, 2)
        ...     z = pm.Bernoulli("z", p, shape=20)
        ...     y = pm.Normal("y", 4.0 * z, 1, observed=[0.0] * 10 + [4.0] * 10)
        >>> options = {"random_seed": 1, "progressbar": False, "cache": False}
        >>> posterior = pma.fit(model, training=pma.TrainingConfig(steps=200), **options)
        >>> idata = posterior.sample(draws=500, random_seed=1)
        >>> idata.indicators["z"].shape, abs(float(idata.posterior["p"].mean()) - 0.5) < 0.1
        ((4, 500, 20), True)
        """
        check_request(self.spec, correction, var_names, idata_kwargs)
        how = correction, acceptance, labels, var_names, max_time
        wanted = self._delivery.ask(draws, chains, *how)
        rest = random_seed, var_names, idata_kwargs
        return self._delivery.one(data, wanted, *rest, show=progressbar)

    def sample_many(
        self,
        datasets: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        draws: int = 1000,
        chains: int = 4,
        correction: Correction = "auto",
        acceptance: AcceptanceRule | None = None,
        labels: Labels = "canonical",
        max_time: float | None = None,
        random_seed: RandomSeed = None,
        var_names: Sequence[str] | None = None,
        progressbar: bool = True,
    ) -> Any:
        """Draw parameters and indicators for many data sets at once.

        Parameters
        ----------
        datasets : sequence of mapping, or mapping of str to array
            B data sets, each as in :meth:`sample`; or arrays (B, *shape) of all of them by name.
        draws, chains, correction, acceptance, labels, max_time, random_seed, var_names, progressbar
            As in :meth:`sample`.

        Returns
        -------
        InferenceData or DataTree
            As of :meth:`sample`, with a dimension ``dataset`` after ``chain`` and ``draw``. The
            group ``answers`` says of each data set what its draws come from, whether they were
            accepted, Pareto k, ESS, the evidence, and why it could not be answered, if so. Its
            draws are then NaN, and its indicators -1, as is what shorter data sets lack.

        Raises
        ------
        InvalidDataError
            If there are no data sets, or none of them can be read.

        Warns
        -----
        AccuracyWarning
            If answers could not be checked, were rejected, or failed; with their number.

        Examples
        --------
        >>> import pymc as pm
        >>> import pymc_amortized as pma
        >>> with pm.Model() as model:
        ...     mu = pm.Normal("mu", 0, 1)
        ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
        >>> options = {"random_seed": 1, "cache": False, "progressbar": False}
        >>> posterior = pma.fit(model, training=pma.TrainingConfig(steps=200), **options)
        >>> idata = posterior.sample_many({"y": [[0.5, 1.5], [2.0, 2.5]]}, progressbar=False)
        >>> dict(idata.posterior["mu"].sizes), idata.answers["checked"].values.tolist()
        ({'chain': 4, 'draw': 1000, 'dataset': 2}, ['accepted', 'accepted'])
        """
        how = correction, acceptance, labels, var_names, max_time
        wanted = self._delivery.ask(draws, chains, *how)
        return self._delivery.many(datasets, wanted, random_seed, var_names, show=progressbar)

    def indicator_probabilities(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        correction: Correction = "auto",
        random_seed: RandomSeed = None,
        progressbar: bool = True,
    ) -> xarray.Dataset:
        """Return p(z_i = k given y) (*units, component), by 1,000 draws; see :meth:`sample`."""
        return self._delivery.probabilities(data, correction, random_seed, progressbar)

    def indicators(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        kind: Literal["smoothing", "filtering", "paths", "viterbi"] = "smoothing",
        draws: int = 1000,
        correction: Correction = "auto",
        random_seed: RandomSeed = None,
        progressbar: bool = True,
    ) -> xarray.Dataset:
        """Return what the data say of the states of Markov chains.

        Parameters
        ----------
        data, draws, correction, random_seed, progressbar
            As in :meth:`sample`; the draws are of one chain.
        kind : {"smoothing", "filtering", "paths", "viterbi"}
            p(z_t = k given all data), or given those up to t, averaged over draws of parameters;
            joint paths, one for each draw; or the most probable path under the most probable draw.

        Returns
        -------
        xarray.Dataset
            Probabilities (*units, state), paths (chain, draw, *units), or the most probable path.

        Raises
        ------
        UnsupportedModelError
            If there is no Markov chain, or no known transition for the most probable path.
        """
        return self._delivery.states(data, kind, draws, correction, random_seed, progressbar)

    def filter(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        draws: int = 1000,
        correction: Correction = "auto",
        random_seed: RandomSeed = None,
        progressbar: bool = True,
    ) -> StateFilter:
        """Filter the data so far, to go on with new points as they come.

        Parameters
        ----------
        data, draws, correction, random_seed, progressbar
            As in :meth:`sample`: the points so far, and one chain of draws.

        Returns
        -------
        StateFilter
            ``update(new_data)`` costs a step for each new point; ``forecast(steps)`` draws more.

        Raises
        ------
        UnsupportedModelError
            If there is no Markov chain, or one that does not go on as it began.
        """
        [chain] = require_chains(self.spec, "filtering", to_go_on=True)
        wanted = self._delivery.ask(draws, 1, correction, var_names=())
        answer = self._delivery.answer(data, wanted, random_seed, show=progressbar)
        generator = torch_generator(random_seed, self.inference.problem.device)
        return StateFilter(self.inference, chain, answer.dataset, answer.draws, generator)

    def check(
        self,
        num_datasets: int = 300,
        random_seed: RandomSeed = None,
        *,
        draws: int = 1000,
        correction: Correction = "auto",
        around: Any = None,
        progressbar: bool = True,
    ) -> CalibrationReport:
        """Tell whether answers can be trusted, by data sets whose true values are known.

        Data sets are simulated, and answered with and without corrections. Ranks of true values
        must be uniform, and probabilities of indicators must come true as often as they say.

        Parameters
        ----------
        num_datasets : int
            At least 20; the more, the smaller the errors that show. If you interrupt: those done.
        draws, correction, random_seed, progressbar
            As in :meth:`sample`; ``"none"``: the network alone.
        around : InferenceData or DataTree, optional
            An answer: data like its own are simulated, and answered by importance sampling alone.

        Returns
        -------
        CalibrationReport
            Print it. Its parts are drawn by ``pma.diagnostics.plot_sbc`` and the like.

        Raises
        ------
        InvalidArgumentError or UnsupportedModelError
            If there are fewer than 20 data sets; or no density to correct by.
        """
        check_request(self.spec, correction)
        check, *near = (calibrate,) if around is None else (calibrate_around, around)
        how = {"correction": correction, "random_seed": random_seed, "progressbar": progressbar}
        return check(self.inference, *near, num_datasets, draws=check_count("draws", draws), **how)

    def log_prob(
        self,
        parameters: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        *,
        labels: Labels = "canonical",
    ) -> np.ndarray:
        """Return the network's own log density of parameters given a data set.

        Parameters
        ----------
        parameters : mapping of str to array, shape (S, *shape)
            Constrained parameters by name, S draws of each.
        data, labels
            As in :meth:`sample`. In canonical labels, parameters out of order have density 0.

        Returns
        -------
        numpy.ndarray, shape (S,)
            log q(θ given y) in nats, over PyMC's unconstrained parameters; -inf off their support.

        Raises
        ------
        ParameterShapeError
            If a parameter is missing, unknown, or of another shape than the model's.
        """
        check_labels(labels)
        dataset, any_of = self.inference.read(data), labels == "symmetric"
        return self.inference.log_posterior(parameters, dataset, any_labels=any_of).cpu().numpy()

    def save(self, path: str | os.PathLike) -> None:
        """Write the network to a file, replaced at once if it exists; see :func:`load`."""
        write_file(path, self.tensors(), self.record.as_record())

    def tensors(self) -> dict[str, Tensor]:
        """Return all numbers of the network by name."""
        return self.inference.tensors()

    def __repr__(self) -> str:
        return network_text(self.inference, self.record)

    def _repr_html_(self) -> str:
        return network_html(self.inference, self.record)
