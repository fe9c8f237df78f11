"""Plots of a trained network: its training, and how far data lie from simulated ones."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pymc_amortized.diagnostics.plots import panels
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.model.spec import ModelSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_distance", "plot_history"]


class TrainedPosterior(Protocol):
    """What is drawn of a trained network."""

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """Validation loss at each check of the training."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """The reading of the model."""
        ...

    @property
    def inference(self) -> Amortized:
        """What draws."""
        ...


def plot_history(posterior: TrainedPosterior, *, ax: "Axes | None" = None) -> np.ndarray:
    """Draw the validation loss over the training, each term by itself.

    Where the curve still falls at its end, longer training will help.

    Parameters
    ----------
    posterior : AmortizedPosterior
        With its record of the training.
    ax : matplotlib axes, or two of them, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib axes
        One for the parameters, and one for indicators where the model has any.
    """
    history = posterior.history
    terms = {"posterior": "-log q(θ | y)", "classification": "cross-entropy of indicators"}
    if not posterior.spec.indicators:
        del terms["classification"]
    axes = panels(ax, len(terms))
    for panel, (name, label) in zip(axes, terms.items(), strict=True):
        panel.plot([h["step"] for h in history], [h[name] for h in history], color="C0")
        panel.set(xlabel="step", ylabel="nats", title=label)
    return axes


def plot_distance(
    posterior: TrainedPosterior,
    data: Mapping[str, Any] | None = None,
    *,
    ax: "Axes | None" = None,
) -> np.ndarray:
    """Draw how far a data set lies from simulated ones, in the space of the network's summaries.

    To the right of all simulated data sets, the network has seen nothing like it.

    Parameters
    ----------
    posterior : AmortizedPosterior
        A trained network.
    data : mapping of str to array, optional
        As in :meth:`AmortizedPosterior.sample`.
    ax : matplotlib axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib axes
        One.
    """
    inference = posterior.inference
    frames = inference.read(data).smooth.to(inference.problem.device)
    reference = inference.reference
    distance = float(reference.distance(inference.summarize(frames)[1])[0])
    axes = panels(ax, 1)
    axes[0].hist(reference.distances.cpu().numpy(), bins=60, color="0.75", label="simulated")
    axes[0].axvline(distance, color="C3", label="data")
    axes[0].legend(frameon=False)
    axes[0].set(xlabel="distance of the summary", ylabel="data sets")
    return axes
