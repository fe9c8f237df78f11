"""``pm.sample(method="amortized")``, and the same door without touching PyMC."""

import functools
import inspect
import time

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pymc

from pymc_amortized.data.dataset import read_dataset
from pymc_amortized.data.tables import Sizes
from pymc_amortized.errors import InvalidArgumentError, SamplerArgumentError
from pymc_amortized.fitting.beginning import begin, can_do_without, learn_from_answer
from pymc_amortized.importance.acceptance import AcceptanceRule, acceptance_rule
from pymc_amortized.inference.arguments import check_correction, check_count, check_request
from pymc_amortized.inference.assembly import lay_out
from pymc_amortized.inference.draws import Correction
from pymc_amortized.inference.watch import check_max_time, what_is_left
from pymc_amortized.messages import warn
from pymc_amortized.networks.build import Networks
from pymc_amortized.rng import RandomSeed, numpy_generator
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.symmetry.answer_labels import Labels, check_labels
from pymc_amortized.symmetry.order_choice import OrderBy
from pymc_amortized.training.config import Preset, TrainingConfig, check_training
from pymc_amortized.training.network_cache import Cache, network_cache

if TYPE_CHECKING:
    import pymc as pm

__all__ = ["AmortizedSampler", "sample", "teach_pymc"]

_MEANINGLESS = (
    "tune",
    "cores",
    "blas_cores",
    "mp_ctx",
    "init",
    "n_init",
    "jitter_max_retries",
    "discard_tuned_samples",
    "compute_convergence_checks",
    "keep_warning_stat",
    "progressbar_theme",
    "quiet",
    "target_accept",
    "compile_kwargs",
    "backend",
)
_CONTRADICTORY = (
    "step",
    "nuts_sampler",
    "nuts_sampler_kwargs",
    "nuts",
    "trace",
    "callback",
    "initvals",
)


class AmortizedSampler:
    """A sampler with its configuration, to be called with a model.

    Parameters
    ----------
    correction : {"auto", "none", "importance", "adaptive", "smc", "mcmc"}
        How draws of the network are corrected; see :meth:`AmortizedPosterior.sample`.
    acceptance : AcceptanceRule, optional
        When they are accepted.
    labels : {"canonical", "symmetric"}
        Of exchangeable components; see :meth:`AmortizedPosterior.sample`.
    order_by : str or sequence of str, optional
        The parameter in whose order they are; see :func:`pymc_amortized.fit`.
    training : {"auto", "none", "fast", "default", "thorough"} or TrainingConfig
        How long to train, if there is no network yet. ``"auto"``: not at all where the density is
        known and draws are corrected, but from the third data set on a network grows along the way,
        for half as long as each answer takes; otherwise as ``"default"``.
    sizes : mapping, optional
        As in :func:`pymc_amortized.fit`.
    networks : Networks, optional
        As in :func:`pymc_amortized.fit`.
    max_time : float, optional
        Seconds for all of it, of which training, where it is needed, has most; see
        :meth:`AmortizedPosterior.sample`.
    device, cache : str, and bool, str or PathLike
        As in :func:`pymc_amortized.fit`.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
    >>> idata = pma.AmortizedSampler()(model, draws=500, chains=2, random_seed=1, progressbar=False)
    >>> dict(idata.posterior["mu"].sizes)
    {'chain': 2, 'draw': 500}
    """

    def __init__(
        self,
        *,
        correction: Correction = "auto",
        acceptance: AcceptanceRule | None = None,
        labels: Labels = "canonical",
        order_by: OrderBy = None,
        training: TrainingConfig | Preset | Literal["auto"] | None = "auto",
        sizes: Sizes = None,
        networks: Networks | None = None,
        max_time: float | None = None,
        device: str = "auto",
        cache: Cache = True,
    ) -> None:
        check_correction(correction)
        check_labels(labels)
        check_training(training)
        network_cache(cache)
        self.correction = correction
        self.acceptance = acceptance_rule(acceptance)
        self.labels = labels
        self.order_by = order_by
        self.training = training
        self.sizes = sizes
        self.networks = networks
        self.max_time = check_max_time(max_time)
        self.device = device
        self.cache = cache

    def __call__(
        self,
        model: "pm.Model | None" = None,
        *,
        draws: int = 1000,
        chains: int | None = None,
        random_seed: RandomSeed = None,
        progressbar: bool = True,
        var_names: Sequence[str] | None = None,
        idata_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Draw for the data that a model observes, and train before if need be.

        Parameters
        ----------
        model : pymc.Model, optional
            Default: the model of the surrounding ``with`` block.
        draws, chains, random_seed, progressbar, var_names, idata_kwargs
            As in ``pm.sample``; four chains by default.

        Returns
        -------
        InferenceData or DataTree
            See :meth:`AmortizedPosterior.sample`.
        """
        started, rng = time.perf_counter(), numpy_generator(random_seed)
        draws = check_count("draws", draws)
        chains = check_count("chains", 4 if chains is None else chains)
        simulator = compile_simulator(model, device=self.device)
        self._check_before_training(simulator, var_names, idata_kwargs)
        posterior = begin(
            simulator,
            training=self.training,
            correction=self.correction,
            max_time=self.max_time,
            sizes=self.sizes,
            networks=self.networks,
            order_by=self.order_by,
            random_seed=rng,
            progressbar=bool(progressbar),
            cache=self.cache,
        )
        # Drawn with a seed of its own, so that the answer does not depend on whether it trained.
        result = posterior.sample(
            draws=draws,
            chains=chains,
            correction=self.correction,
            acceptance=self.acceptance,
            labels=self.labels,
            max_time=what_is_left(self.max_time, time.perf_counter() - started),
            random_seed=rng,
            progressbar=bool(progressbar),
            var_names=var_names,
            idata_kwargs=idata_kwargs,
        )
        how = self.training, self.correction, self.networks
        grows = self.max_time is None and can_do_without(simulator, *how)
        seconds = time.perf_counter() - started
        learn_from_answer(posterior, seconds, sizes=self.sizes, grows=grows, cache=self.cache)
        return result

    def _check_before_training(
        self,
        simulator: Simulator,
        var_names: Sequence[str] | None,
        idata_kwargs: Mapping[str, Any] | None,
    ) -> None:
        """Refuse what would fail after training."""
        check_request(simulator.spec, self.correction, var_names, idata_kwargs)
        read_dataset(lay_out(simulator, self.sizes), simulator.observed_data)


def sample(
    draws: int = 1000,
    *,
    chains: int | None = None,
    random_seed: RandomSeed = None,
    progressbar: bool = True,
    var_names: Sequence[str] | None = None,
    model: "pm.Model | None" = None,
    idata_kwargs: Mapping[str, Any] | None = None,
    return_inferencedata: bool = True,
    correction: Correction = "auto",
    acceptance: AcceptanceRule | None = None,
    labels: Labels = "canonical",
    order_by: OrderBy = None,
    training: TrainingConfig | Preset | Literal["auto"] | None = "auto",
    sizes: Sizes = None,
    networks: Networks | None = None,
    max_time: float | None = None,
    device: str = "auto",
    cache: Cache = True,
    **ignored: Any,
) -> Any:
    """Sample the posterior of a model: ``pm.sample(method="amortized")``.

    Parameters
    ----------
    draws, chains, random_seed, progressbar, var_names, model, idata_kwargs, return_inferencedata
        As in ``pm.sample``. Draws are independent: chains only divide them.
    correction, acceptance, labels, order_by, training, sizes, networks, max_time, device, cache
        As in :class:`AmortizedSampler`.
    **ignored
        Arguments of ``pm.sample`` that tune a Markov chain: each is named in a warning.

    Returns
    -------
    InferenceData or DataTree
        See :meth:`AmortizedPosterior.sample`.

    Raises
    ------
    SamplerArgumentError
        For arguments that ask for something else than this sampler, or are unknown.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
    ...     idata = pma.sample(draws=500, random_seed=1, progressbar=False)
    >>> abs(float(idata.posterior["mu"].mean()) - 2 / 3) < 0.1
    True
    """
    _refuse_or_warn(ignored)
    if return_inferencedata is not True:
        raise SamplerArgumentError(
            "Expected return_inferencedata=True; there is no MultiTrace of independent draws. "
            "Leave it out."
        )
    sampler = AmortizedSampler(
        correction=correction,
        acceptance=acceptance,
        labels=labels,
        order_by=order_by,
        training=training,
        sizes=sizes,
        networks=networks,
        max_time=max_time,
        device=device,
        cache=cache,
    )
    return sampler(
        model,
        draws=draws,
        chains=chains,
        random_seed=random_seed,
        progressbar=progressbar,
        var_names=var_names,
        idata_kwargs=idata_kwargs,
    )


def _refuse_or_warn(arguments: Mapping[str, Any]) -> None:
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given:
        if name in _CONTRADICTORY:
            raise SamplerArgumentError(
                f'Expected no {name!r} with method="amortized", which runs no Markov chain; got '
                f"one. Leave it out, or use PyMC's own sampler:\n\n    pm.sample({name}=...)"
            )
        if name not in _MEANINGLESS:
            raise SamplerArgumentError(
                f'Expected arguments that method="amortized" knows; got {name!r}. See '
                "help(pymc_amortized.sample)."
            )
    if given:
        warn(
            f'{", ".join(given)}: no meaning for method="amortized", which runs no Markov chain; '
            "ignored.",
            UserWarning,
        )


def teach_pymc() -> None:
    """Teach ``pm.sample`` the keyword ``method``, once however often it is called."""
    if getattr(pymc.sample, "knows_amortized", False):
        return
    pymc.sample = _add_method(pymc.sample)


def _add_method(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def with_method(*args: Any, method: str | None = None, **kwargs: Any) -> Any:
        if method is None or method == "mcmc":
            return original(*args, **kwargs)
        if method == "amortized":
            return sample(*args, **kwargs)
        raise InvalidArgumentError(f"Expected method to be 'mcmc' or 'amortized'; got {method!r}.")

    with_method.knows_amortized = True
    with_method.__signature__ = _signature_with_method(original)
    with_method.__doc__ = _DOCUMENTATION + (original.__doc__ or "")
    return with_method


_DOCUMENTATION = """Draw samples from the posterior.

    ``method="amortized"`` (of ``pymc_amortized``) is for mixtures and hidden Markov models: see
    ``help(pymc_amortized.sample)`` for its arguments. Without ``method``, or with
    ``method="mcmc"``, this is PyMC's own, whose documentation follows.

    """


def _signature_with_method(original: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(original)
    method = inspect.Parameter(
        "method", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str | None
    )
    parameters = list(signature.parameters.values())
    last = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        last -= 1
    return signature.replace(parameters=[*parameters[:last], method, *parameters[last:]])
