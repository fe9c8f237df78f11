"""The door for people with many data sets: train once, answer for ever."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymc_amortized.data.tables import Sizes
from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.fitting.given_simulations import GivenSimulations, read_simulations
from pymc_amortized.fitting.sequential import SequentialTraining, check_sequential
from pymc_amortized.fitting.wanted_network import WantedNetwork, blank_record, put_together
from pymc_amortized.inference.assembly import untrained
from pymc_amortized.networks.build import Networks
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.rng import RandomSeed, numpy_generator
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.symmetry.order_choice import OrderBy, choose_orders
from pymc_amortized.training.config import Preset, TrainingConfig, training_config
from pymc_amortized.training.network_cache import Cache, network_cache
from pymc_amortized.training.reporter import Reporting, TrainingCallback, check_callback

if TYPE_CHECKING:
    import pymc

__all__ = ["fit", "fit_simulator"]


def fit(
    model: "pymc.Model | None" = None,
    *,
    sizes: Sizes = None,
    training: TrainingConfig | Preset | None = None,
    networks: Networks | None = None,
    simulations: GivenSimulations | None = None,
    data: Mapping[str, Any] | None = None,
    rounds: int | None = None,
    order_by: OrderBy = None,
    device: str = "auto",
    random_seed: RandomSeed = None,
    progressbar: bool = True,
    callback: TrainingCallback | None = None,
    cache: Cache = True,
) -> AmortizedPosterior:
    """Train networks for a model, or find those that were trained for it before.

    Parameters
    ----------
    model : pymc.Model, optional
        Default: the model of the surrounding ``with`` block. It is not changed, and the values it
        observes do not matter, only their number.
    sizes : mapping of str to int or (int, int), optional
        Numbers of units to train for, by observed variable, such as ``{"y": (50, 500)}``. Default:
        the number in the model. Covariates that run along the units are then resampled from the
        model's, and can be given anew with each data set.
    training : {"none", "fast", "default", "thorough"} or TrainingConfig, optional
        How long: 0, 2,000, 7,000 or 30,000 steps, and 2, 10 or 60 minutes, at most. Without any,
        data sets are answered by the model's density alone.
    networks : Networks, optional
        Which networks. Default: chosen from the reading of the model.
    simulations : mapping of str to array, xarray.Dataset, InferenceData or DataTree, optional
        To train on these alone, which were made elsewhere: for each parameter and each observed
        variable an array (n, *shape), or what ``pm.sample_prior_predictive`` returns. Parameters
        must have been drawn from the prior of the model. Default: the model is simulated, anew at
        each step, or as often as ``TrainingConfig(simulations=...)`` says.
    data : mapping of str to array, optional
        One data set, by observed variable, to train for in ``rounds``; the networks answer no
        other.
    rounds : int, optional
        The budget of simulations, 10,000 by default, is divided by so many rounds, each of which
        simulates only where the networks of the round before have put the posterior of ``data``.
        They end early when the networks move by less than ``TrainingConfig(tolerance=...)``.
    order_by : str or sequence of str, optional
        Where components are exchangeable, so that the posterior has a mode for each order of their
        labels: the parameter in whose ascending order they are trained and answered; of components
        with variables of their own (``mu_0``, ``mu_1``) one of these, or all. Default: that by
        which simulated data tell them apart best.
    device : str
        ``"auto"`` (the GPU when there is one), or a torch device.
    random_seed : int, sequence of int, numpy.random.Generator or None
        As in PyMC. A network found in the cache may have been trained with another one.
    progressbar : bool
        Show one while training, or log where training stands where none can be shown.
    callback : callable, optional
        Called after every step with its number, and with a dict of losses in nats: ``"posterior"``,
        ``"classification"``, and now and then ``"validation"``. Raise ``StopIteration`` to end
        training there; called again, it goes on.
    cache : bool, str or PathLike
        Where networks are kept: True for the default directory (``$PYMC_AMORTIZED_CACHE``, or the
        user's cache), False for nowhere, or a directory. What is there, and how to remove it, is
        told by :mod:`pymc_amortized.cache`. A network that another process trains at the moment is
        waited for.

    Returns
    -------
    AmortizedPosterior
        Ready to answer data sets.

    Raises
    ------
    UnsupportedModelError
        If the model cannot be read, or its sizes cannot be varied as asked for.
    InvalidArgumentError
        If ``order_by`` names what exchangeable components cannot be ordered by; or if one of
        ``data`` and ``rounds`` is given without the other, or with what does not go with them.
    InvalidDataError
        If ``simulations``, or ``data``, are not of this model.
    TrainingError
        If too many steps are not finite.

    Warns
    -----
    TrainingInterruptedWarning
        If training was interrupted by Ctrl-C. The best network so far is returned; called again,
        training goes on from there.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
    >>> config = pma.TrainingConfig(steps=100, tolerance=None)
    >>> posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    >>> posterior.record.steps
    100
    """
    return fit_simulator(
        compile_simulator(model, device=device),
        sizes=sizes,
        training=training,
        networks=networks,
        simulations=simulations,
        data=data,
        rounds=rounds,
        order_by=order_by,
        random_seed=random_seed,
        progressbar=progressbar,
        callback=check_callback(callback),
        cache=cache,
    )


def fit_simulator(
    simulator: Simulator,
    *,
    sizes: Sizes,
    training: TrainingConfig | Preset | None,
    networks: Networks | None,
    order_by: OrderBy,
    random_seed: RandomSeed,
    progressbar: bool,
    cache: Cache,
    callback: TrainingCallback | None = None,
    simulations: GivenSimulations | None = None,
    data: Mapping[str, Any] | None = None,
    rounds: int | None = None,
    max_time: float | None = None,
    reuse: bool = False,
) -> AmortizedPosterior:
    """Do what :func:`fit` does, for a model that has been compiled.

    With ``reuse``, and nothing to be trained, a network will do that was trained in any way. With
    ``max_time``, training ends after so many seconds, if no network is found that had more.
    """
    config = training_config(training)
    _check_networks(networks, config)
    store = network_cache(cache)
    seed = int(numpy_generator(random_seed).integers(2**31))
    parts, orders = simulator.fingerprint, choose_orders(simulator, order_by)
    simulator = simulator.in_order(orders)
    given = sequential = None
    if data is not None or rounds is not None:
        config = check_sequential(data, rounds, config, networks, others=(sizes, simulations))
        sequential = SequentialTraining.of(simulator, data, rounds)
    if simulations is not None:
        _check_given(config, sizes)
        classified = networks is not None and networks.classification is not None
        given = read_simulations(simulator, simulations, classified=classified)
        config = replace(config, simulations=len(given))
    if config.steps == 0:
        layout, inference = untrained(simulator, sizes, seed)
        record = blank_record(parts, orders, layout, config, None)
        found = put_together(simulator, store.best_of(record.family), None) if reuse else None
        return found or AmortizedPosterior(inference, record)
    wanted = WantedNetwork(
        simulator,
        parts,
        sizes,
        config,
        networks,
        seed,
        store,
        Reporting(progressbar, callback, place=store.directory),
        given,
        max_time,
        sequential=sequential,
    )
    return wanted.obtain()


def _check_networks(networks: Networks | None, config: TrainingConfig) -> None:
    if networks is None:
        return
    if not isinstance(networks, Networks):
        raise InvalidArgumentError(
            f"Expected networks to be pma.Networks; got {networks!r}. For instance:\n\n"
            "    networks=pma.Networks(summary=pma.SetTransformer)"
        )
    if config.steps == 0:
        raise InvalidArgumentError(
            f"Expected no networks where nothing is trained; got {networks!r}. Leave networks out, "
            'or train them:\n\n    training="default"'
        )


def _check_given(config: TrainingConfig, sizes: Sizes) -> None:
    """Refuse what cannot go with simulations that were made elsewhere."""
    problem = ""
    if sizes is not None:
        problem = f"sizes={sizes!r}, while they are of the size of the model"
    elif config.simulations is not None:
        problem = f"a budget of {config.simulations:,} of the model besides"
    elif config.steps == 0:
        problem = 'training="none", which learns from none'
    if problem:
        raise InvalidArgumentError(
            f"Expected simulations that were made elsewhere to be all there is; got {problem}. "
            "Leave one of them out:\n\n    pma.fit(model, simulations=simulations)"
        )
