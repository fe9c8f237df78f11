"""Networks that are asked for: found in the cache, or trained, or the best of several."""

import math

from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import Sizes
from pymc_amortized.errors import CacheWarning
from pymc_amortized.fitting.likelihood.learning import (
    learn_likelihood,
    require_learnable,
    with_likelihood,
)
from pymc_amortized.fitting.sequential import SequentialRounds, SequentialTraining
from pymc_amortized.fitting.simulation_budget import draw_table
from pymc_amortized.fitting.train_posterior import PosteriorTraining
from pymc_amortized.inference.assembly import (
    assemble,
    inference_from_tensors,
    problem_in_scores,
    untrained,
)
from pymc_amortized.messages import log_info, warn
from pymc_amortized.model.fingerprint import describe_value, digest
from pymc_amortized.networks.build import Networks
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulation.simulated_data import Simulation
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.symmetry.canonical_order import CanonicalOrder
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.training.reporter import Reporting
from pymc_amortized.version import package_versions

__all__ = ["WantedNetwork", "blank_record", "put_together"]


@dataclass(frozen=True, slots=True, eq=False)
class WantedNetwork:
    """A network of a model that is asked for.

    Attributes
    ----------
    simulator : Simulator
        The model, in the order that its components are to be trained in.
    parts : dict of str to str
        Fingerprints of the parts of the model.
    sizes : mapping, optional
        As in :func:`pymc_amortized.fit`.
    config : TrainingConfig
        How it is to be trained.
    networks : Networks or None
        Which networks.
    seed : int
        Of its training.
    store : NetworkCache
        Where networks are kept.
    reporting : Reporting
        Who is told where training stands.
    given : Simulation, optional
        What to train on, instead of simulations of the model.
    max_time : float, optional
        Seconds that training may take, if no network is found that had more.
    table : SimulationTable, optional
        The budget of simulations, if it is drawn already.
    sequential : SequentialTraining, optional
        The one data set that it is for.
    """

    simulator: Simulator
    parts: dict[str, str]
    sizes: Sizes
    config: TrainingConfig
    networks: Networks | None
    seed: int
    store: NetworkCache
    reporting: Reporting
    given: Simulation | None = None
    max_time: float | None = None
    table: SimulationTable | None = None
    sequential: SequentialTraining | None = None

    def obtain(self) -> AmortizedPosterior:
        """Return the network: that of the cache, or one that is trained now."""
        layout, estimator = assemble(self.simulator, self.sizes, self.networks, self.seed)
        if self._learns_likelihood:
            require_learnable(self.simulator, self.config, layout)
        if not estimator.has_to_learn:  # indicators alone, and their density is known
            layout, inference = untrained(self.simulator, self.sizes, self.seed)
            return AmortizedPosterior(inference, replace(self, networks=None)._record(layout))
        is_choice = self.networks is not None and self.networks.is_choice
        if is_choice and estimator.posterior is not None:
            return self._obtain_best(layout)
        record = self._record(layout, self._configs()[-1])
        wanted = record.fingerprint
        before = self.store.stamp(wanted)
        found = self._find_any(layout)
        if found is not None:
            return found
        with self.store.lock(wanted):
            if self.store.stamp(wanted) != before:  # another process has trained it meanwhile
                found = self._find(record)
            return found or self._train(layout, estimator, record)

    def _obtain_best(self, layout: DataLayout) -> AmortizedPosterior:
        """Return the network whose posterior network has the lowest loss on what is held out."""
        found, choices, budget = {}, self.networks.choices, self._record(layout).fingerprint
        share = None if self.max_time is None else self.max_time / len(choices)
        wanted = {
            name: replace(self, networks=networks, max_time=share)
            for name, networks in choices.items()
        }
        is_missing = any(one._find_any(layout) is None for one in wanted.values())
        if is_missing and self.config.simulations is not None and self.given is None:
            source = problem_in_scores(self.simulator, layout, self.seed).source
            number = self.config.simulations
            table = draw_table(source, number, self.seed, self.store, budget)
            wanted = {name: replace(one, table=table) for name, one in wanted.items()}
        for name, one in wanted.items():
            log_info(f"Posterior network {len(found) + 1} of {len(choices)}: {name}.")
            found[name] = one.obtain()
            if found[name].record.interrupted:
                break
        else:
            self.store.discard(budget, "simulations")
        losses = {name: _posterior_loss(one.record) for name, one in found.items()}
        best = min(losses, key=losses.__getitem__)
        told = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        log_info(f"The best posterior network is {best}; losses in nats: {told}.")
        return AmortizedPosterior(found[best].inference, replace(found[best].record, chosen=best))

    def _configs(self) -> list[TrainingConfig]:
        if self.max_time is None:
            return [self.config]
        shorter = min(self.max_time, self.config.max_time or math.inf)
        return [self.config, replace(self.config, max_time=shorter)]

    def _record(self, layout: DataLayout, config: TrainingConfig | None = None) -> TrainingRecord:
        orders, config = self.simulator.labelling.orders, config or self.config
        record = blank_record(self.parts, orders, layout, config, self.networks, self.given)
        return record if self.sequential is None else self.sequential.named(record)

    def _find_any(self, layout: DataLayout) -> AmortizedPosterior | None:
        """Return the network of the cache, be it that of more time."""
        records = [self._record(layout, one) for one in self._configs()]
        return next((x for x in map(self._find, records) if x is not None), None)

    def _find(self, record: TrainingRecord) -> AmortizedPosterior | None:
        known = self.store.read(record.fingerprint)
        return put_together(self.simulator, known, self.networks)

    def _train(
        self, layout: DataLayout, estimator: Estimator, record: TrainingRecord
    ) -> AmortizedPosterior:
        if self.sequential is not None:
            how = record, self.seed, self.reporting, self.store
            rounds = SequentialRounds(self.sequential, self.simulator, self.networks, *how)
            posterior = rounds.run()
        else:
            given = self.given if self.table is None else self.table
            what = self.simulator, layout, estimator, record
            training = PosteriorTraining(*what, self.seed, self.store, given)
            learned = self._learn_likelihood(layout, training)
            posterior = training.complete(self.reporting)
            posterior = with_likelihood(posterior, learned) if learned else posterior
        if not posterior.record.interrupted:
            store, name = self.store, record.fingerprint
            store.write(name, posterior.tensors(), posterior.record.as_record())
            store.discard(name, "checkpoint")
            store.discard(name, "simulations")
        return posterior

    @property
    def _learns_likelihood(self) -> bool:
        return self.networks is not None and self.networks.likelihood is not None

    def _learn_likelihood(
        self, layout: DataLayout, training: PosteriorTraining
    ) -> dict[str, LikelihoodNetwork]:
        """Return densities that are asked for: before anything else is trained, if they fail."""
        if not self._learns_likelihood:
            return {}
        return learn_likelihood(
            self.simulator, layout, self.networks, training.seed, training.table
        )


def _posterior_loss(record: TrainingRecord) -> float:
    """Return the lowest loss of the posterior network on what is held out."""
    return min((entry["posterior"] for entry in record.history), default=math.inf)


def put_together(
    simulator: Simulator, found: tuple[dict[str, Tensor], Any] | None, networks: Networks | None
) -> AmortizedPosterior | None:
    """Return the network that the cache holds, or None where there is none that fits."""
    if found is None:
        return None
    tensors, content = found
    try:
        known = TrainingRecord.from_record(content)
        inference = inference_from_tensors(simulator, tensors, known.sizes, networks)
        return AmortizedPosterior(inference, known)
    except (RuntimeError, KeyError, TypeError) as error:
        warn(f"The cached network does not fit, and is not used: {error}", CacheWarning)
        return None


def blank_record(
    parts: dict[str, str],
    orders: tuple[CanonicalOrder, ...],
    layout: DataLayout,
    config: TrainingConfig,
    networks: Networks | None,
    given: Simulation | None = None,
) -> TrainingRecord:
    """Return the record of a network before it is trained: all that tells it from others."""
    sizes = {t.name: t.sizes for t in layout.tables if t.resized}
    versions = package_versions()
    family = digest(
        repr(sorted(parts.items())),
        repr([(t.names, t.sizes, t.resized) for t in layout.tables]),
        describe_value(None if networks is None else asdict(networks)),
        repr(orders),
        repr(sorted(versions.items())),
    )
    trained = [config.fingerprint]
    if given is not None:
        trained.append(describe_value(given.arrays))
    return TrainingRecord(
        fingerprint=f"{family}-{digest(*trained)[:8]}",
        parts=parts,
        versions=versions,
        sizes=sizes,
        config=config,
        steps=0,
        skipped=0,
        seconds=0.0,
        interrupted=False,
        validation_loss=math.nan,
        accepted_share=math.nan,
        history=(),
        orders=orders,
    )
