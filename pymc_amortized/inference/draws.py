"""Draws of the parameters of one data set, and how far to correct them."""

import math

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

__all__ = ["ConfirmedBy", "Correction", "Draws", "McmcDraws", "StoppedBy"]

Correction = Literal["auto", "none", "importance", "adaptive", "smc", "mcmc"]
ConfirmedBy = Literal["bridge", "search", "mcmc", "simulations", "neither", "nothing"]
StoppedBy = Literal["nothing", "max_time", "interrupt"]


@dataclass(frozen=True, slots=True, eq=False)
class McmcDraws:
    """Chains of draws of the parameters of one data set, or populations of particles.

    Attributes
    ----------
    vector : Tensor of float64, shape (chains, draws, D)
        Unconstrained.
    diverging : Tensor of bool, shape (chains, draws)
        Where the integrator lost its way.
    rhat : float
        Largest rank-normalized split R-hat over coordinates; NaN for a single chain.
    ess : float
        Smallest bulk effective sample size over coordinates, in draws.
    sampler : {"nutpie", "pymc", "smc"}
        What drew them; of sequential Monte Carlo there is a chain of each population.
    compile_seconds : float
        Time spent on compiling; 0 where that had been done before.
    """

    vector: Tensor
    diverging: Tensor
    rhat: float
    ess: float
    sampler: str
    compile_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """S draws of the parameters of one data set, and what is known of them.

    Attributes
    ----------
    parameters : dict of str to Tensor, shape (S, *shape)
        Constrained.
    vector : Tensor, shape (S, D)
        The same, unconstrained: of exchangeable components in order, the coordinates of that order.
    log_joint : Tensor, shape (S,), or None
        log p(θ, y) in nats, over the model's own unconstrained parameters; None without a density.
    log_q : Tensor, shape (S,)
        Log density of the network in nats, over the same; NaN where it has none.
    diverging : Tensor of bool, shape (S,)
        Where the integrator of an MCMC chain lost its way.
    rung : {"network", "importance", "adaptive", "smc", "mcmc"}
        What the draws come from.
    accepted : bool or None
        Whether they can be relied on; None where nothing could be checked.
    pareto_k, importance_ess : float
        Of the weights on this rung, or, for ``"smc"`` and ``"mcmc"``, before; NaN where there are
        none.
    network_pareto_k : float
        Of the network's own draws.
    num_proposals : int
        Draws that were weighed.
    num_distinct : int
        Different draws among these.
    log_evidence, log_evidence_error : float
        log p(y) in nats over the prior as it is restricted by transforms, with its Monte Carlo
        standard error; NaN where it could not be estimated.
    simulation_quantile : float
        Share of simulated data sets whose summaries lie as near to the mean as that of the data.
    confirmed_by : {"bridge", "search", "mcmc", "simulations", "neither", "nothing"}
        What a second estimate says, which shares nothing with the first but the density. A bridge
        of particles from the prior agrees; it could not be weighed by itself, but its particles
        know of no place that the answer lacks; MCMC chains that began at draws of the network, and
        others that began at particles, agree; the two do not agree; or there was none. Of many data
        sets, those amid the simulated ones on which the network was seen to cover posteriors.
    stopped_by : {"nothing", "max_time", "interrupt"}
        Why they are not what more time would have given, if they are not.
    is_trained : bool
        Whether a network drew first, and not the prior in its place.
    by_learned : bool
        Whether the density that they were weighed by was learned from simulations.
    mcmc : McmcDraws or None
        The MCMC chains, or populations of particles, where there were any.
    seconds : dict of str to float
        That each rung took.
    """

    parameters: dict[str, Tensor]
    vector: Tensor
    log_joint: Tensor | None
    log_q: Tensor
    diverging: Tensor
    rung: str
    accepted: bool | None = None
    pareto_k: float = math.nan
    importance_ess: float = math.nan
    network_pareto_k: float = math.nan
    num_proposals: int = 0
    num_distinct: int = 0
    log_evidence: float = math.nan
    log_evidence_error: float = math.nan
    simulation_quantile: float = math.nan
    confirmed_by: ConfirmedBy = "nothing"
    stopped_by: StoppedBy = "nothing"
    is_trained: bool = True
    by_learned: bool = False
    mcmc: McmcDraws | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.log_q.shape[0]

    @property
    def log_weight(self) -> Tensor | None:
        """``log_joint - log_q``, (S,)."""
        return None if self.log_joint is None else self.log_joint - self.log_q

    def select(self, index: Tensor | slice) -> "Draws":
        """Return some of the draws, what is known of all of them unchanged."""
        return replace(
            self,
            parameters={name: x[index] for name, x in self.parameters.items()},
            vector=self.vector[index],
            log_joint=None if self.log_joint is None else self.log_joint[index],
            log_q=self.log_q[index],
            diverging=self.diverging[index],
        )
