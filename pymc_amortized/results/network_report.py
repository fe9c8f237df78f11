"""What is said of a trained network: its text, and attributes of its answers."""

import html
import json
import math

from dataclasses import asdict
from typing import Any

from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.answer import Wanted
from pymc_amortized.model.spec import without_density
from pymc_amortized.training.record import TrainingRecord

__all__ = ["network_attrs", "network_html", "network_text"]


def network_text(inference: Amortized, record: TrainingRecord) -> str:
    """Return a line for each thing that is known of a network."""
    facts = _facts(inference, record).items()
    return "\n".join([_headline(inference), *(f"  {key}: {value}" for key, value in facts)])


def network_html(inference: Amortized, record: TrainingRecord) -> str:
    """Return the same as a table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for key, value in _facts(inference, record).items()
    )
    return f"<p><b>{html.escape(_headline(inference))}</b></p><table>{rows}</table>"


def network_attrs(
    inference: Amortized, record: TrainingRecord, seconds: float, wanted: Wanted
) -> dict[str, Any]:
    """Return attributes of an answer that took so many seconds: what NetCDF can hold."""
    attrs = {
        "inference_library_version": record.versions["pymc_amortized"],
        "sampling_time": seconds,
        "training_time": record.seconds,
        "tuning_steps": 0,
        "validation_accepted_share": record.accepted_share,
        "network_fingerprint": record.fingerprint,
        "settings": json.dumps(
            {
                "correction": wanted.correction,
                "acceptance": asdict(wanted.rule),
                "training": asdict(record.config),
            }
        ),
    }
    if inference.problem.exact is None:
        attrs["not_checked_because"] = without_density(inference.problem.spec)
    return attrs


def _headline(inference: Amortized) -> str:
    names = ", ".join(o.name for o in inference.problem.spec.observations)
    return f"AmortizedPosterior of {names}"


def _labels(inference: Amortized) -> dict[str, str]:
    labelling = inference.problem.labelling
    return {"labels": f"in ascending order of {labelling}"} if labelling.orders else {}


def _facts(inference: Amortized, record: TrainingRecord) -> dict[str, str]:
    spec = inference.problem.spec
    facts = {
        "parameters": ", ".join(p.name for p in spec.parameters) or "none",
        "indicators": ", ".join(i.name for i in spec.indicators) or "none",
        "units": ", ".join(
            f"{t.name} {t.sizes[0]:,}" + ("" if len(set(t.sizes)) == 1 else f" to {t.sizes[1]:,}")
            for t in inference.problem.layout.tables
        ),
        **_labels(inference),
    }
    if not inference.estimator.is_trained:
        return facts | {"trained": "no: answers begin at the prior", "accuracy": "of each answer"}
    budget = record.config.simulations
    facts["trained"] = (
        f"{record.steps:,} steps of {record.config.batch_size} data sets"
        + ("" if budget is None else f" out of {budget:,}")
        + f" in {record.seconds:.0f} s"
        + (", then interrupted" if record.interrupted else "")
    )
    facts["validation loss"] = f"{record.validation_loss:.3f} nats"
    if record.rounds:
        facts["answers"] = f"one data set alone, for which it was trained in {record.rounds} rounds"
    if not spec.parameters and inference.problem.exact is not None:
        facts["accuracy"] = "exact: there are no parameters, and indicators have a density"
    elif spec.learned:
        facts["accuracy"] = f"of each answer, by what was learned of {', '.join(spec.learned)}"
    elif math.isnan(record.accepted_share) and inference.problem.exact is not None:
        facts["accuracy"] = "of each answer"
    elif math.isnan(record.accepted_share):
        facts["accuracy"] = f"cannot be checked: {without_density(spec)}"
    else:
        facts["accuracy"] = (
            f"Pareto k below 0.7 for {record.accepted_share:.0%} of fresh simulated data sets"
        )
    return facts
