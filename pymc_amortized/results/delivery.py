"""From a question to an ArviZ result: what is asked, answered, said in the log, and built."""

import math
import time

from collections.abc import Mapping, Sequence
from typing import Any

import xarray

from pymc_amortized.data.dataset_list import read_datasets
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.importance.acceptance import AcceptanceRule, acceptance_rule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.answer import Answer, Answering, Wanted
from pymc_amortized.inference.arguments import (
    check_count,
    check_request,
    indicators_to_draw,
    require_chains,
)
from pymc_amortized.inference.draws import Correction
from pymc_amortized.inference.watch import Watch, check_max_time
from pymc_amortized.results.answer_report import (
    answer_facts,
    log_answer,
    note_of_place,
    warn_of,
    warn_of_left_out,
)
from pymc_amortized.results.builder import ResultBuilder
from pymc_amortized.results.log_densities import log_likelihood, log_prior
from pymc_amortized.results.many import AnswersTable, fill
from pymc_amortized.results.network_report import network_attrs
from pymc_amortized.results.reading import INDICATORS
from pymc_amortized.results.states import states_dataset
from pymc_amortized.rng import RandomSeed, torch_generator
from pymc_amortized.symmetry.answer_labels import AnswerLabels, Labels
from pymc_amortized.training.progress import DatasetProgress, answer_progress
from pymc_amortized.training.record import TrainingRecord

__all__ = ["Delivery"]

_DRAWS_FOR_PROBABILITIES = 1_000


class Delivery:
    """Answers questions of users by ArviZ results.

    Parameters
    ----------
    inference : Amortized
        The networks and the model.
    record : TrainingRecord
        How they were trained.
    """

    def __init__(self, inference: Amortized, record: TrainingRecord) -> None:
        self.inference, self.record = inference, record
        self.problem, self.spec = inference.problem, inference.problem.spec
        self.answering = Answering(inference)

    def ask(
        self,
        draws: int,
        chains: int,
        correction: Correction,
        acceptance: AcceptanceRule | None = None,
        labels: Labels = "canonical",
        var_names: Sequence[str] | None = None,
        max_time: float | None = None,
    ) -> Wanted:
        """Check what is asked of each data set.

        Raises
        ------
        InvalidArgumentError
            If something is not to be had of any model.
        UnsupportedModelError
            If it is not to be had of this one.
        """
        draws, chains = check_count("draws", draws), check_count("chains", chains)
        check_request(self.spec, correction, var_names)
        self.inference.require_training_for(correction)
        return Wanted(
            num_draws=draws * chains,
            chains=chains,
            correction=correction,
            rule=acceptance_rule(acceptance),
            labels=AnswerLabels(self.problem.labelling, self.spec, labels),
            indicators=indicators_to_draw(self.spec, var_names),
            max_time=check_max_time(max_time),
        )

    def answer(
        self,
        data: Mapping[str, Any] | None,
        wanted: Wanted,
        random_seed: RandomSeed,
        *,
        show: bool = False,
    ) -> Answer:
        """Answer a user's data set, and warn of what is to be known of the answer."""
        dataset = self.inference.read(data)
        generator = torch_generator(random_seed, self.problem.device)
        with answer_progress(show) as tell:
            watch = Watch(wanted.max_time, tell)
            answer = self.answering.answer(dataset, wanted, generator, watch, own_data=data is None)
        warn_of(answer.draws, self.spec, wanted.rule)
        return answer

    def one(
        self,
        data: Mapping[str, Any] | None,
        wanted: Wanted,
        random_seed: RandomSeed,
        var_names: Sequence[str] | None,
        idata_kwargs: Mapping[str, Any] | None,
        *,
        show: bool = False,
    ) -> Any:
        """Return the result for one data set; see :meth:`AmortizedPosterior.sample`."""
        started = time.perf_counter()
        answer = self.answer(data, wanted, random_seed, show=show)
        seconds = time.perf_counter() - started
        builder = self.built(answer, wanted, var_names)
        aside = [i for i in self.spec.indicators if builder.sink.holds(INDICATORS, i.name)]
        log_answer(answer.draws, wanted.labels.note_of(answer.draws), note_of_place(aside))
        warn_of_left_out(builder.left_out)
        of_kind = {"log_likelihood": log_likelihood, "log_prior": log_prior}
        asked = [kind for kind in of_kind if (idata_kwargs or {}).get(kind)]
        attrs = {**self._attrs(seconds, wanted), **answer_facts(answer.draws)}
        if not math.isnan(overlap := wanted.labels.overlap(answer.draws)):
            attrs["labels_overlap"] = overlap
        for name, indicator in answer.indicators.items():
            attrs[f"classification_gap_{name}"] = indicator.gap
        return builder.result(attrs, {kind: of_kind[kind](builder, answer) for kind in asked})

    def many(
        self,
        datasets: Any,
        wanted: Wanted,
        random_seed: RandomSeed,
        var_names: Sequence[str] | None,
        *,
        show: bool,
    ) -> Any:
        """Return the result for many data sets; see :meth:`AmortizedPosterior.sample_many`."""
        started = time.perf_counter()
        names = [o.name for o in self.spec.observations]
        read = read_datasets(self.inference.read, datasets, names)
        builder = ResultBuilder(self.problem, read, wanted.num_draws, wanted.chains, var_names)
        table = AnswersTable(read)
        generator = torch_generator(random_seed, self.problem.device)
        with DatasetProgress(len(read), show) as progress:
            watch = Watch(wanted.max_time, progress.tell)
            answers = self.answering.answer_many(read, wanted, generator, watch)
            fill(builder, table, answers, progress.advance)
        table.warn(self.spec, builder.left_out)
        attrs = self._attrs(time.perf_counter() - started, wanted)
        return builder.result(attrs, {"answers": table.to_dataset(builder.axes)})

    def probabilities(
        self,
        data: Mapping[str, Any] | None,
        correction: Correction,
        random_seed: RandomSeed,
        show: bool = False,
    ) -> xarray.Dataset:
        """Return p(z_i = k given y), averaged over draws of the parameters.

        Raises
        ------
        UnsupportedModelError
            If the model has no indicators.
        """
        if not self.spec.indicators:
            raise UnsupportedModelError(
                "Expected a model with indicators; this one has parameters only. See them by:\n\n"
                "    posterior.sample().posterior"
            )
        wanted = self.ask(_DRAWS_FOR_PROBABILITIES, 1, correction)
        answer = self.answer(data, wanted, random_seed, show=show)
        return self.built(answer, wanted, list(answer.indicators)).probabilities()

    def states(
        self,
        data: Mapping[str, Any] | None,
        kind: str,
        draws: int,
        correction: Correction,
        random_seed: RandomSeed,
        show: bool = False,
    ) -> xarray.Dataset:
        """Return what data say of chains; see :meth:`AmortizedPosterior.indicators`."""
        chains = require_chains(self.spec, kind)
        wanted = self.ask(draws, 1, correction)
        answer = self.answer(data, wanted, random_seed, show=show)
        builder = self.built(answer, wanted, list(answer.indicators))
        return states_dataset(builder, answer, kind, [c.name for c in chains])

    def built(
        self, answer: Answer, wanted: Wanted, var_names: Sequence[str] | None
    ) -> ResultBuilder:
        """Return what is built of the answer for one data set."""
        counts = wanted.num_draws, wanted.chains
        builder = ResultBuilder(self.problem, [answer.dataset], *counts, var_names, single=True)
        builder.put(0, answer)
        return builder

    def _attrs(self, seconds: float, wanted: Wanted) -> dict[str, Any]:
        attrs = network_attrs(self.inference, self.record, seconds, wanted)
        return {**attrs, **wanted.labels.attrs}
