"""What the answer to one data set begins with: as much training as it needs, which may be none."""

from typing import Any, Literal

from pymc_amortized.data.tables import Sizes
from pymc_amortized.fitting.fit import fit_simulator
from pymc_amortized.fitting.growing import FIRST_TO_GROW, grow
from pymc_amortized.inference.draws import Correction
from pymc_amortized.messages import log_info
from pymc_amortized.model.fingerprint import describe_value, digest
from pymc_amortized.networks.build import Networks
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.config import Preset, TrainingConfig, is_auto
from pymc_amortized.training.network_cache import Cache, network_cache

__all__ = ["begin", "can_do_without", "learn_from_answer"]

_CLIMBS = ("auto", "adaptive", "smc", "mcmc")  # corrections that get somewhere from the prior
_SHARE_OF_TRAINING = 0.8
_COUNTS_TO_TELL = (3, 10, 30, 100, 300, 1_000)


def begin(
    simulator: Simulator,
    *,
    training: TrainingConfig | Preset | Literal["auto"] | None,
    correction: Correction,
    networks: Networks | None,
    max_time: float | None = None,
    **options: Any,
) -> AmortizedPosterior:
    """Return what draws first for the data that a model observes.

    Parameters
    ----------
    simulator : Simulator
        The model.
    training : TrainingConfig, preset, "auto" or None
        ``"auto"``, as None: a network that an earlier call has trained, for however long; or else
        the prior, where a density is known and ``correction`` climbs from there; or else a network
        that is trained now.
    correction : str
        How draws will be corrected.
    max_time : float, optional
        Seconds for the whole call, of which training takes most if it is needed.
    networks, **options
        As in :func:`pymc_amortized.fit`.
    """
    does_without = can_do_without(simulator, training, correction, networks)
    if does_without:
        training = "none"
    elif is_auto(training):
        training = None
    return fit_simulator(
        simulator,
        training=training,
        networks=networks,
        max_time=None if max_time is None else _SHARE_OF_TRAINING * max_time,
        reuse=does_without,
        **options,
    )


def can_do_without(
    simulator: Simulator,
    training: TrainingConfig | Preset | Literal["auto"] | None,
    correction: Correction,
    networks: Networks | None,
) -> bool:
    """Whether the data at hand decide how long to train, and need no training."""
    climbs = correction in _CLIMBS and simulator.density is not None
    return is_auto(training) and networks is None and climbs


def learn_from_answer(
    posterior: AmortizedPosterior, seconds: float, *, sizes: Sizes, grows: bool, cache: Cache
) -> None:
    """Count an answer; say now and then what a network is for, and have one grow.

    Parameters
    ----------
    posterior : AmortizedPosterior
        What the answer came from.
    seconds : float
        That it took.
    sizes : mapping, optional
        As in :func:`pymc_amortized.fit`.
    grows : bool
        Whether a network is to be trained along the way.
    cache : bool, str or PathLike
        Where networks are kept.
    """
    store, record = network_cache(cache), posterior.record
    observed = posterior.inference.problem.simulator.observed_data
    data = digest(describe_value(dict(observed)))[:16]
    before = store.read_usage(record.family)
    usage, is_new = before.after(data, seconds), data not in before.last
    store.write_usage(record.family, usage)
    grows = grows and store.directory is not None
    if is_new and not record.steps and usage.datasets in _COUNTS_TO_TELL:
        along = " From now on, one grows along the way, for half as long as answers take."
        log_info(
            f"{usage.datasets:,} data sets of this model have been answered without training, in "
            f"{usage.seconds:,.0f} s.{along if grows and usage.datasets == FIRST_TO_GROW else ''} "
            "For hundreds, train a network once, which answers many a second:\n\n"
            "    posterior = pma.fit(model)\n    posterior.sample_many(datasets)"
        )
    if grows and is_new:
        grow(posterior, usage, sizes=sizes, store=store)
