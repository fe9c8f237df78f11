"""The rung of MCMC chains: started from weighted draws, and weighed in their turn."""

import math

from dataclasses import replace

import torch

from torch import Tensor

from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.pool import Pool
from pymc_amortized.importance.weights import Weights, resample, tempered
from pymc_amortized.inference.correction.nuts import MarginalSampler
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws, scores_of
from pymc_amortized.inference.draws import McmcDraws

__all__ = ["McmcRung", "thin"]

_FEWEST_DRAWS = 250
_SMALL_SHARE = 0.05
_ESS_FOR_STARTS = 100.0
_NUM_FOR_SCALE = 1_000
_MIN_CHAINS = 4
_NUM_TUNE = 500


class McmcRung:
    """Runs MCMC chains for one data set of a batch after the other.

    Parameters
    ----------
    weighing : WeightedDraws
        The batch.
    sampler : MarginalSampler
        Of the model; compiled once.
    chains : int
        How many chains are asked for; at least four are run.
    """

    def __init__(self, weighing: WeightedDraws, sampler: MarginalSampler, chains: int) -> None:
        self.weighing, self.sampler = weighing, sampler
        self.inference, self.generator = weighing.inference, weighing.generator
        self.num_chains = max(_MIN_CHAINS, chains)

    def draw(
        self,
        at: Tensor,
        pool: Pool,
        weights: Weights,
        longer: int,
        before: McmcDraws | None,
        others: Tensor | None = None,
    ) -> McmcDraws:
        """Run MCMC chains from weighted draws; with the time of compilation of those before.

        Every other chain starts at one of ``others``, scores (N, 1, D), where there are any: chains
        that come from different places, and agree, are more than chains that agree.
        """
        usable = tempered(weights.log_weights, _ESS_FOR_STARTS)[:, 0]
        scores, _ = scores_of(pool.images[resample(usable, _NUM_FOR_SCALE, self.generator)])
        vector = self._as_written(scores)
        starts = vector[: self.num_chains].clone()
        if others is not None:
            starts[1::2] = self._as_written(others[: self.num_chains // 2])
        centred = vector - vector.mean(0)
        covariance = centred.T @ centred / len(vector)
        smallest = 1e-8 * covariance.diagonal().amax() + 1e-12
        covariance = covariance + smallest * torch.eye(len(covariance)).to(covariance)
        draws = max(_FEWEST_DRAWS, math.ceil(self.weighing.num_draws / self.num_chains))
        mcmc = self.sampler.sample(
            self.weighing.frames.select(at),
            starts,
            vector.mean(0),
            torch.linalg.cholesky(covariance),
            draws=longer * draws,
            tune=longer * _NUM_TUNE,
            random_seed=int(torch.randint(2**31 - 1, (), generator=self.generator)),
            watch=self.weighing.watch,
        )
        spent = 0.0 if before is None else before.compile_seconds
        return replace(mcmc, compile_seconds=spent + mcmc.compile_seconds)

    def _as_written(self, scores: Tensor) -> Tensor:
        """Return scores (S, 1, D) as unconstrained parameters (S, D) of the model as it is."""
        vector, _ = self.inference.problem.space.unstandardize(scores[:, 0])
        return self.sampler.as_written(vector)

    def reweighed(self, mcmc: McmcDraws, at: Tensor) -> tuple[Pool, Weights, bool]:
        """Go on with importance sampling from a mixture fitted to MCMC draws, and from the network.

        Chains that are stuck in modes know where these are, and weights how much each holds. Where
        the network knows of others, the integral is larger than over the modes of the chains.

        Returns
        -------
        pool : Pool
            New draws.
        weights : Weights
            Of these.
        missed : bool
            Whether MCMC chains missed a mode.
        """
        scores, _ = self.inference.problem.space.standardize(mcmc.vector.flatten(0, 1))
        pool, weights, (over_mcmc, other) = self.weighing.adapt_from(at, scores.unsqueeze(1), 1)
        everything, error = log_mean_weight(pool.log_weights)
        margin = _SMALL_SHARE + 4 * float((error.square() + other.square()).sqrt())
        return pool, weights, float(everything - over_mcmc) > margin


def thin(values: Tensor, num_draws: int) -> Tensor:
    """Return so many draws (S, *) of chains (chains, draws, *), chain after chain, far apart."""
    num_chains, length = values.shape[:2]
    each = math.ceil(num_draws / num_chains)
    places = (torch.arange(each, device=values.device) * (length / each)).long()
    return values[:, places].flatten(0, 1)[:num_draws]
