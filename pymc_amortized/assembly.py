"""Networks for a model: built anew, or put together again from numbers and files."""

import os

from collections.abc import Mapping

from torch import Tensor

from pymc_amortized.checkpoint import read_file
from pymc_amortized.distance import SummaryReference
from pymc_amortized.errors import NetworkFileError, UnsupportedModelError
from pymc_amortized.estimator import Estimator, Networks, build_estimator
from pymc_amortized.inference import Inference
from pymc_amortized.layout import DataLayout, Sizes
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulator import Simulator
from pymc_amortized.training_record import TrainingRecord
from pymc_amortized.transforms import NormalScores
from pymc_amortized.version import package_versions

__all__ = ["assemble", "posterior_from_file", "posterior_from_tensors"]


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
    if not spec.parameters and not spec.indicators:
        raise UnsupportedModelError(
            "Expected a model with parameters or indicators; this one has neither, so that there "
            "is nothing to infer."
        )
    layout = DataLayout(spec, simulator.covariates, sizes)
    for table in layout.tables:
        if table.is_sequence and table.grouped:
            raise UnsupportedModelError(
                f"Expected the rows of {table.name!r} to be the time points of "
                f"{table.indicator.name!r}; they are others, so that several may belong to one "
                "time point. Give each time point a row, with as many values as there are at most, "
                "and mask those that are missing:\n\n"
                f"    pm.Normal({table.name!r}, mu[z][:, None], sigma, "
                "observed=np.ma.masked_invalid(values_of_each_time_point))"
            )
    estimator = build_estimator(
        layout.tables, simulator.parameters.size, simulator.parameters.num_features, networks, seed
    )
    for indicator in spec.indicators:
        index = layout.table_of(indicator.name)
        if not spec.has_density and index not in estimator.classified:
            raise UnsupportedModelError(
                f"Expected the units of {indicator.name!r} to be observed in one table of rows, "
                "as the classification network sees them; they are observed in several of "
                "different lengths, and without a density their indicators cannot be computed "
                "otherwise. Give what has none a density:\n\n"
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
    reference = part("reference.")
    return AmortizedPosterior(
        Inference(
            simulator,
            layout,
            space,
            estimator,
            SummaryReference(**reference) if reference else None,
        ),
        record,
    )


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
    ordered = simulator.in_order(record.orders)
    try:
        return posterior_from_tensors(ordered, tensors, record, networks)
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
