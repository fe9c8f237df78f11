"""The door to simulators: ``pma.compile_simulator``."""

from typing import TYPE_CHECKING

import torch

from pymc_amortized.errors import DeviceError, ModelReadingError
from pymc_amortized.graph.backend import Backend
from pymc_amortized.model.compiled import compile_model
from pymc_amortized.simulation.simulator import Simulator

if TYPE_CHECKING:
    import pymc

__all__ = ["compile_simulator"]


def compile_simulator(
    model: "pymc.Model | None" = None, *, device: str = "auto", backend: Backend = "auto"
) -> Simulator:
    """Compile a PyMC model to a simulator of batches of data sets.

    Parameters
    ----------
    model : pymc.Model, optional
        Default: the model of the surrounding ``with`` block. It is not changed.
    device : str
        ``"auto"`` (the GPU when there is one), or a torch device such as ``"cpu"`` or ``"cuda"``.
    backend : {"auto", "torch", "pytensor"}
        Where to simulate. ``"auto"`` is torch, and compiled PyTensor, with a warning, for variables
        that need an operation which torch lacks.

    Returns
    -------
    Simulator
        With ``spec``, ``sample``, ``density`` and ``parameters``.

    Raises
    ------
    ModelReadingError
        If this is not a model that observes numbers.
    UnsupportedModelError
        If the model is outside of what can be answered.
    DeviceError
        If the device is not there.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     mu = pm.Normal("mu", [-2, 2], 1)
    ...     z = pm.Bernoulli("z", p, shape=20)
    ...     y = pm.Normal("y", mu[z], 1, observed=[0.0] * 20)
    >>> simulator = pma.compile_simulator(model, device="cpu")
    >>> simulator.spec.indicators[0].kind
    'independent'
    >>> simulator.sample(100, random_seed=1).observations["y"].shape
    torch.Size([100, 20])
    """
    if backend not in ("auto", "torch", "pytensor"):
        raise ModelReadingError(f"Expected backend 'auto', 'torch' or 'pytensor'; got {backend!r}.")
    target = _find_device(device)
    return Simulator(compile_model(model, backend), target)


def _find_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(
            f"Expected a device such as 'auto', 'cpu' or 'cuda'; got {device!r}."
        ) from error
    try:
        torch.empty(1, device=target)
    except Exception as error:  # of which kind depends on the device, and on how torch was built
        raise DeviceError(
            f"Expected a {target.type.upper()} device, as asked for by device={device!r}; torch "
            f"finds none ({str(error).splitlines()[0]}). Use the processor, or let the package "
            "choose:\n\n    pma.compile_simulator(model, device='auto')"
        ) from error
    return target
