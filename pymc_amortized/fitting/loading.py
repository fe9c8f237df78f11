"""The door for networks that were trained before: ``pma.load``."""

import os

from typing import TYPE_CHECKING

from pymc_amortized.errors import NetworkFileError
from pymc_amortized.inference.assembly import inference_from_tensors
from pymc_amortized.networks.build import Networks, with_choice
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.files import read_file
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.version import package_versions

if TYPE_CHECKING:
    import pymc

__all__ = ["load", "posterior_from_file"]


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
        return AmortizedPosterior(
            inference_from_tensors(
                ordered, tensors, record.sizes, with_choice(networks, record.chosen)
            ),
            record,
        )
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


def load(
    path: str | os.PathLike,
    model: "pymc.Model | None" = None,
    *,
    networks: Networks | None = None,
    device: str = "auto",
) -> AmortizedPosterior:
    """Read a network that :meth:`AmortizedPosterior.save` has written.

    Parameters
    ----------
    path : str or PathLike
        The file.
    model : pymc.Model, optional
        The model that it was trained for. Default: that of the surrounding ``with`` block.
    networks : Networks, optional
        As in :func:`fit`, if they were chosen there.
    device : str
        As in :func:`fit`.

    Returns
    -------
    AmortizedPosterior
        Which gives the same draws, for the same seed, as the one that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NetworkFileError
        If the file is damaged, newer than this package, or for another model; it says what
        differs.
    """
    return posterior_from_file(path, compile_simulator(model, device=device), networks)
