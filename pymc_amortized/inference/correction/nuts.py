"""Draws by the No-U-Turn sampler, of the density with indicators summed out."""

import math
import time
import warnings

import arviz
import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.inference.correction.framed import framed_data
from pymc_amortized.inference.correction.nuts_samplers import NutsSampler, nuts_sampler
from pymc_amortized.inference.draws import McmcDraws
from pymc_amortized.inference.problem import Problem
from pymc_amortized.inference.watch import OutOfTimeError, Watch
from pymc_amortized.model.density.marginal import MarginalModel
from pymc_amortized.simulation.simulator import Simulator

__all__ = ["MarginalSampler", "may_be_impossible"]

_SECONDS_TO_COMPILE = 20.0
_NUM_SIMULATIONS = 32
_FEWEST_DRAWS = 4
_FEWEST_TUNE = 10


class MarginalSampler:
    """Draws from the exact posterior of a data set, by the No-U-Turn sampler [1]_.

    Chains run in nutpie where it is installed and can compile the model, and otherwise in
    PyMC. Either compiles once, when the first data set is asked for.

    An order of exchangeable components is not a wall to chains: they move within the model as it is
    written, and their draws are put in order afterwards. Where two components overlap in the values
    that they are ordered by, the order cuts one mode into pieces that no path inside of it joins.

    Parameters
    ----------
    problem : Problem
        The model. It must have a density, and parameters.

    References
    ----------
    .. [1] Hoffman, M. D., & Gelman, A. (2014). The No-U-Turn sampler. Journal of Machine Learning
       Research 15, 1593-1623.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._compiled: dict[bool, tuple[MarginalModel, NutsSampler]] = {}

    def sample(
        self,
        frames: Frames,
        starts: Tensor,
        location: Tensor,
        scale_tril: Tensor,
        *,
        draws: int,
        tune: int,
        random_seed: int,
        watch: Watch | None = None,
    ) -> McmcDraws:
        """Draw for one data set.

        Parameters
        ----------
        frames : Frames
            The data set, a batch of one.
        starts : Tensor, shape (chains, D)
            Unconstrained parameters at which each chain starts, as by :meth:`as_written`.
        location, scale_tril : Tensor, shape (D,) and (D, D)
            Mean and Cholesky factor of the covariance that the posterior is expected to have,
            likewise. A good guess makes sampling faster, and a bad one slower; neither changes the
            answer.
        draws, tune : int
            Of each chain, at least 1 and 10; those of tuning are dropped.
        random_seed : int
            At least 0.
        watch : Watch, optional
            How long it may take.

        Raises
        ------
        InvalidArgumentError
            If there are too few draws, or the seed is below 0.
        UnsupportedModelError
            If there are no parameters, or the density or its gradient is not finite where a chain
            starts.
        OutOfTimeError
            If time is out, or would hardly suffice to compile.

        Returns
        -------
        McmcDraws
            In order.
        """
        _check_numbers(draws, tune, random_seed)
        started = time.perf_counter()
        framed = self._problem.layout.resized or frames.num_frames > 1
        watch = watch or Watch()
        is_new = framed not in self._compiled
        if is_new:
            if watch.seconds_left < _SECONDS_TO_COMPILE:
                raise OutOfTimeError
            watch.tell("MCMC chains are compiled")
            self._compiled[framed] = self._compile(framed)
        seconds = time.perf_counter() - started if is_new else 0.0
        watch.tell(f"{len(starts)} MCMC chains of {tune + draws:,} draws")
        model, sampler = self._compiled[framed]
        m, lower = (x.detach().double().cpu().numpy() for x in (location, scale_tril))
        arrays = model.arrays(framed_data(self._problem.layout, frames), m, lower)
        spawn = np.random.SeedSequence(random_seed)
        centred = starts.detach().double().cpu().numpy() - m
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            u, diverging = sampler.run(
                arrays,
                np.linalg.solve(lower, centred.T).T,
                draws=draws,
                tune=tune,
                seeds=[int(s) for s in spawn.generate_state(len(centred))],
                watch=watch,
            )
        vector = self._in_order(torch.as_tensor(m + u @ lower.T))
        rhat, ess = diagnose(vector.numpy())
        return McmcDraws(
            vector,
            torch.as_tensor(diverging),
            rhat,
            ess,
            sampler.name,
            seconds,
        )

    def as_written(self, vector: Tensor) -> Tensor:
        """Return unconstrained parameters (S, D) in the coordinates of the model as it is."""
        labelling, space = self._problem.labelling, self._problem.space
        if not labelling.orders:
            return vector
        return labelling.space.unconstrain(space.constrain(vector))

    def _in_order(self, vector: Tensor) -> Tensor:
        """Return draws (chains, draws, D) in order, in the coordinates of that order."""
        labelling, space = self._problem.labelling, self._problem.space
        if not labelling.orders:
            return vector
        as_written = labelling.space.constrain(vector.flatten(0, 1).to(self._problem.device))
        ordered = space.unconstrain(labelling.arrange(as_written))
        return ordered.unflatten(0, vector.shape[:2]).cpu()

    def _compile(self, framed: bool) -> tuple[MarginalModel, NutsSampler]:
        model = MarginalModel(
            self._problem.simulator.as_written.density,
            [spec.unconstrained_shape for spec in self._problem.labelling.space.specs],
            framed=framed,
            guarded=may_be_impossible(self._problem.simulator),
        )
        with warnings.catch_warnings():
            # Of slow linear algebra and of Python callbacks, which are not the user's concern.
            warnings.simplefilter("ignore")
            return model, nuts_sampler(model)


def _check_numbers(draws: int, tune: int, random_seed: int) -> None:
    minima = {"draws": (draws, 1), "tune": (tune, _FEWEST_TUNE), "random_seed": (random_seed, 0)}
    for name, (value, least) in minima.items():
        if value < least:
            raise InvalidArgumentError(f"Expected {name} to be at least {least}; got {value!r}.")


def diagnose(vector: np.ndarray) -> tuple[float, float]:
    """Return the largest R-hat and the smallest bulk ESS over coordinates."""
    if vector.shape[1] < _FEWEST_DRAWS:
        return math.nan, math.nan
    columns = [np.ascontiguousarray(vector[..., d]) for d in range(vector.shape[-1])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ess = min(float(arviz.ess(column, method="bulk")) for column in columns)
        if len(vector) == 1:
            return math.nan, ess
        return max(float(arviz.rhat(column)) for column in columns), ess


def may_be_impossible(simulator: Simulator) -> bool:
    """Tell whether some component gives some value probability zero, among simulated data sets."""
    simulation = simulator.sample(_NUM_SIMULATIONS, 0)
    return any(
        bool(
            torch.isneginf(
                simulator.density.log_likelihood(
                    simulation.parameters, simulation.observations, indicator.name
                )
            ).any()
        )
        for indicator in simulator.spec.indicators
    )
