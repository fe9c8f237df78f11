"""What the answer to one data set begins with: as much training as it needs, which may be none."""

from typing import Any, Literal

from pymc_amortized.fitting.fit import fit_simulator
from pymc_amortized.inference.draws import Correction
from pymc_amortized.messages import log_info
from pymc_amortized.networks.build import Networks
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.config import Preset, TrainingConfig, is_auto
from pymc_amortized.training.network_cache import Cache, network_cache

__all__ = ["begin", "count_answer"]

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
    can_do_without = (
        is_auto(training)
        and networks is None
        and correction in _CLIMBS
        and simulator.density is not None
    )
    if can_do_without:
        training = "none"
    elif is_auto(training):
        training = None
    return fit_simulator(
        simulator,
        training=training,
        networks=networks,
        max_time=None if max_time is None else _SHARE_OF_TRAINING * max_time,
        reuse=can_do_without,
        **options,
    )


def count_answer(posterior: AmortizedPosterior, seconds: float, cache: Cache) -> None:
    """Count an answer without training, and say now and then what a network would be for."""
    if posterior.record.steps:
        return
    number, total = network_cache(cache).count_answer(posterior.record.family, seconds)
    if number in _COUNTS_TO_TELL:
        log_info(
            f"{number:,} data sets of this model have been answered without training, in "
            f"{total:,.0f} s. For hundreds, train a network once, which answers many a second:\n\n"
            "    posterior = pma.fit(model)\n    posterior.sample_many(datasets)"
        )
