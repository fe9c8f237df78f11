"""Filtering of a stream: what is known of the states, carried on from point to point."""

import math

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.discrete.steps import forward_pass
from pymc_amortized.errors import InvalidArgumentError, InvalidDataError, UnsupportedModelError
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.markov import MarkovConditional
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.results.axes import ModelAxes, dataset_of

__all__ = ["StateFilter"]


class StateFilter:
    r"""p(z_t given y up to t) of a stream, at the cost of one step for each new point.

    It holds S draws of the parameters and, for each of them, the filtering distribution of the last
    state. New points are taken in by :meth:`update`. Where the model has a density, they also tell
    which draws are the likelier ones [1]_: draws are weighed by

    .. math:: w_s \propto p(y_{t+1:T} \mid y_{1:t}, \theta_s),

    so that probabilities are those of the posterior given everything up to the last point. Without
    one, the draws stay those of the data that the filter began with.

    The network looks at new points alone; the density of a model is evaluated for as many points as
    the model itself has, in each call of :meth:`update`, however long the stream is.

    Built by :meth:`AmortizedPosterior.filter`.

    Parameters
    ----------
    inference : Amortized
        Whose model or network answers.
    indicator : IndicatorSpec
        The chain.
    dataset : Dataset
        The data that the stream begins with.
    draws : Draws
        Of the parameters given these.
    generator : torch.Generator
        Of the randomness of forecasts.

    References
    ----------
    .. [1] Chopin, N. (2002). A sequential particle filter method for static models. Biometrika
       89(3), 539-552.
    """

    def __init__(
        self,
        inference: Amortized,
        indicator: IndicatorSpec,
        dataset: Dataset,
        draws: Draws,
        generator: torch.Generator,
    ) -> None:
        _require_homogeneous(inference, indicator)
        self._inference, self._indicator = inference, indicator
        self._draws, self._generator = draws, generator
        self._weighed = inference.problem.exact is not None
        passes, matrices = [], []
        for chain, _ in MarkovConditional(
            inference.problem, inference.estimator, indicator, dataset
        ).chains(draws):
            forward = forward_pass(chain)
            passes.append(forward.filtered[-1].log().T)
            matrices.append(forward.log_transition[0].movedim(-1, 0))
            self.num_times = chain.num_times
        num_draws = draws.log_q.shape[0]
        self._log_filtered = torch.cat(passes)  # (S or 1, M)
        self._log_transition = torch.cat(matrices)  # (S or 1, M, M)
        self._log_weights = self._log_filtered.new_full((num_draws,), -math.log(num_draws))

    @property
    def probabilities(self) -> np.ndarray:
        """p(z_t = k given y up to t) of the last state, (K,)."""
        return self._average(self._log_filtered).cpu().numpy()

    @property
    def ess(self) -> float:
        """Effective number of draws; where it is small, begin anew with all data so far."""
        return float((-(2 * self._log_weights).logsumexp(0)).exp())

    def update(self, data: Mapping[str, Any]) -> xarray.DataArray:
        """Take in new points, and return the filtering distribution at each of them.

        Parameters
        ----------
        data : mapping of str to array, shape (n, ...)
            Of every observed variable, and of covariates along it: the points that follow. Missing
            ones are masked.

        Returns
        -------
        xarray.DataArray, dims (time, state)
            p(z_t = k given y up to t); times are counted from the beginning of the stream.

        Raises
        ------
        InvalidDataError
            If the data are not points of the model, or have probability zero in every state. No
            point is taken in then.
        """
        dataset = self._inference.read(data, any_size=True)
        before = self._log_filtered, self._log_weights, self.num_times
        try:
            rows = [self._step(emission) for emission in self._emissions(dataset).unbind(-2)]
        except InvalidDataError:
            self._log_filtered, self._log_weights, self.num_times = before
            raise
        times = np.arange(self.num_times - len(rows), self.num_times)
        return xarray.DataArray(
            torch.stack(rows).cpu().numpy(),
            dims=("time", "state"),
            coords={"time": times, "state": np.asarray(self._indicator.support)},
            name=self._indicator.name,
        )

    def forecast(self, steps: int) -> xarray.Dataset:
        """Draw the states and observations that follow, once for each draw of the parameters.

        Parameters
        ----------
        steps : int
            How far ahead, at least 1.

        Returns
        -------
        xarray.Dataset
            Each observed variable, dims (sample, time, ...), and the states, dims (sample, time).

        Raises
        ------
        UnsupportedModelError
            If observations depend on covariates, whose future values are not known.
        """
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise InvalidArgumentError(f"Expected at least 1 step ahead; got {steps!r}.")
        inference, name = self._inference, self._indicator.name
        along = [c.name for c in inference.problem.spec.covariates if c.unit_axes]
        if along:
            raise UnsupportedModelError(
                f"Expected observations that depend on states alone; they depend on {along} too, "
                "whose values ahead are not known."
            )
        num_draws = len(self._log_weights)
        picked = torch.multinomial(
            self._log_weights.exp(), num_draws, replacement=True, generator=self._generator
        )
        states = self._draw_states_ahead(picked, int(steps))
        num_rows = self._indicator.units[-1]
        num_frames = math.ceil(int(steps) / num_rows)
        padded = torch.nn.functional.pad(states, (0, num_frames * num_rows - int(steps)))
        parameters = {
            p: x[picked].repeat_interleave(num_frames, dim=0)
            for p, x in self._draws.parameters.items()
        }
        in_frames = padded + self._indicator.support[0]
        simulation = inference.problem.simulator.simulate(
            parameters, self._generator_seed(), indicators={name: in_frames.reshape(-1, num_rows)}
        )
        leading = {"sample": num_draws, "time": int(steps)}
        arrays = [self._array_ahead(name, states + self._indicator.support[0], leading)]
        for observed, values in simulation.observations.items():
            of_draws = values.reshape(num_draws, num_frames * num_rows, *values.shape[2:])
            arrays.append(self._array_ahead(observed, of_draws[:, : int(steps)], leading))
        return dataset_of(arrays)

    def _array_ahead(
        self, name: str, values: Tensor, leading: Mapping[str, int]
    ) -> xarray.DataArray:
        axes = ModelAxes(self._inference.problem.simulator, [], leading)
        array = axes.array(name, values.cpu().numpy(), None, leading)
        return array.assign_coords(time=np.arange(leading["time"]) + self.num_times)

    def _draw_states_ahead(self, picked: Tensor, steps: int) -> Tensor:
        """Draw codes (S, steps) of the states that follow."""
        every = len(self._log_weights)
        filtered = self._log_filtered.expand(every, -1)[picked].exp()
        matrix = self._log_transition.expand(every, -1, -1)[picked].exp()
        current, states = self._pick(filtered), []
        for _ in range(steps):
            row = matrix[torch.arange(every), current]
            current = self._pick(row)
            states.append(current % self._indicator.num_components)
        return torch.stack(states, dim=1)

    def _pick(self, weights: Tensor) -> Tensor:
        return torch.multinomial(weights, 1, generator=self._generator)[:, 0]

    def _generator_seed(self) -> int:
        options = {"generator": self._generator, "device": self._generator.device}
        return int(torch.randint(2**31 - 1, (), **options))

    def _emissions(self, dataset: Dataset) -> Tensor:
        """Return log emissions (S or 1, n, K) of new points."""
        conditional = MarkovConditional(
            self._inference.problem, self._inference.estimator, self._indicator, dataset
        )
        return torch.cat([chain.emissions() for chain, _ in conditional.chains(self._draws)])

    def _step(self, emission: Tensor) -> Tensor:
        """Take in one point, of log emission (S or 1, K), and return p(state), (K,)."""
        predicted = (self._log_filtered.unsqueeze(-1) + self._log_transition).logsumexp(-2)
        of_tuples = emission.repeat(1, predicted.shape[-1] // emission.shape[-1])
        joint = predicted + of_tuples
        evidence = joint.logsumexp(-1)  # (S or 1,)
        if bool(torch.isneginf(evidence).all()):
            raise InvalidDataError(
                f"Expected a point that the model can produce; that at time {self.num_times} has "
                "probability zero in every state, under all draws of the parameters."
            )
        self._log_filtered = joint - evidence.nan_to_num(neginf=0.0).unsqueeze(-1)
        if self._weighed:
            self._log_weights = (self._log_weights + evidence).log_softmax(0)
        self.num_times += 1
        return self._average(self._log_filtered)

    def _average(self, log_filtered: Tensor) -> Tensor:
        """Average probabilities of tuples (S or 1, M) over draws, as those of the last state."""
        weights = self._log_weights.exp().unsqueeze(-1)
        tuples = (weights * log_filtered.exp()).sum(0)
        return tuples.reshape(-1, self._indicator.num_components).sum(0)


def _require_homogeneous(inference: Amortized, indicator: IndicatorSpec) -> None:
    table = inference.problem.layout.table_of(indicator.name)
    reasons = {
        "its transition differs from step to step": indicator.time_varying,
        "several sequences lie side by side": len(indicator.units) > 1,
        "it is observed in several tables": table is None,
        "its observations differ from time point to time point": table is not None
        and not inference.problem.layout.tables[table].exchangeable,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsupportedModelError(
                f"Expected a chain that goes on as it began; of {indicator.name!r} {reason}. "
                "Filter the data that are there:\n\n"
                '    posterior.indicators(data, kind="filtering")'
            )
