"""The estimator: summary, posterior and classification networks with one loss."""

from collections.abc import Mapping, Sequence

import torch

from torch import Tensor, nn

from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.classification.path_network import PathNetwork
from pymc_amortized.networks.contracts import (
    AbstractClassificationNetwork,
    AbstractPosteriorNetwork,
    AbstractSummaryNetwork,
)
from pymc_amortized.networks.scaling import FeatureScaling
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["Estimator"]

_ROWS_PER_DATASET = 8
_MIN_SEQUENCES = 16


class Estimator(nn.Module):
    """q(θ given y) and q(z given y, θ).

    Parameters
    ----------
    summaries : sequence of AbstractSummaryNetwork
        One for each table of units; none for a posterior network that looks at no data.
    posterior : AbstractPosteriorNetwork or None
        None where a model has no parameters.
    classifiers : mapping of int to AbstractClassificationNetwork
        By the position of the table.
    path_networks : mapping of int to PathNetwork
        By the position of the table, where a chain's transition is not known.
    shapes : sequence of UnitShape
        Of the tables.
    num_features : int
        P.
    """

    def __init__(
        self,
        summaries: Sequence[AbstractSummaryNetwork],
        posterior: AbstractPosteriorNetwork | None,
        classifiers: Mapping[int, AbstractClassificationNetwork],
        path_networks: Mapping[int, PathNetwork],
        shapes: Sequence[UnitShape],
        num_features: int,
    ) -> None:
        super().__init__()
        self.parameter_scaling = FeatureScaling(num_features)
        self.scaling = nn.ModuleList(FeatureScaling(shape.num_features) for shape in shapes)
        self.summaries = nn.ModuleList(summaries)
        self.posterior = posterior
        self.classifiers = nn.ModuleDict({str(i): net for i, net in classifiers.items()})
        self.path_networks = nn.ModuleDict({str(i): net for i, net in path_networks.items()})
        self.classified = frozenset({*classifiers, *path_networks})
        self.by_row = {i: shapes[i].owner is None for i in classifiers}

    def independent_weights(self) -> list[list[nn.Parameter]]:
        """Return weights by parts that share none: a large gradient of one leaves others alone."""
        posterior = [] if self.posterior is None else [*self.posterior.parameters()]
        parts = [[*self.summaries.parameters(), *posterior]]
        of_indicators = [*self.classifiers.values(), *self.path_networks.values()]
        parts += [[*network.parameters()] for network in of_indicators]
        return [part for part in parts if part]

    def fit_scaling(self, batch: Batch) -> None:
        """Fit the scales of features of units and of parameters to simulations."""
        for scaling, table in zip(self.scaling, batch.units, strict=True):
            scaling.fit(table)
        self.parameter_scaling.fit(_one_row(batch.features))

    def scaled(self, units: Sequence[Units]) -> list[Units]:
        """Scale units, one per table."""
        return [scaling(table) for scaling, table in zip(self.scaling, units, strict=True)]

    def context(self, units: Sequence[Units]) -> Tensor:
        """Summarize data sets given by scaled units: (B, C)."""
        if not self.summaries:
            values = units[0].values
            return values.new_zeros(len(values), 0, dtype=torch.float64)
        parts = [net(table) for net, table in zip(self.summaries, units, strict=True)]
        return torch.cat(parts, dim=-1)

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log q in nats: (B,) of scores (B, D), or (S, B) of scores (S, B, D)."""
        if self.posterior is None:
            return context.new_zeros(scores.shape[:-1])
        if scores.ndim == 3:
            return self.posterior.log_prob_of_draws(scores, context)
        return self.posterior.log_prob(scores, context)

    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return scores (S, B, D)."""
        if self.posterior is None:
            return context.new_zeros(num_draws, context.shape[0], 0)
        draws = self.posterior.sample(context, num_draws, generator)
        # Networks written for version 0.5 return the log densities of their draws as well.
        return draws[0] if isinstance(draws, tuple) else draws

    @property
    def is_trained(self) -> bool:
        """Whether it may learn from simulations: one that only stands for the prior does not."""
        return len(self.summaries) > 0

    @property
    def has_to_learn(self) -> bool:
        """Whether there is anything to be learned: neither parameters nor indicators, if not."""
        return self.posterior is not None or bool(self.classified)

    @property
    def has_density(self) -> bool:
        """Whether log q is known."""
        return self.posterior is None or self.posterior.density == "exact"

    def classify(self, table: int, units: Units, features: Tensor) -> Tensor:
        """Return log q(z given y, θ) (B, N, J, K) of a table's scaled units.

        Of the time points of a sequence, log p(y_t given z_t, θ) up to a number for each of them.
        """
        return self.classifiers[str(table)](units, self._scaled_parameters(features))

    def filter_states(self, table: int, units: Units, features: Tensor) -> Tensor:
        """Return log q(z_t given y up to t, θ) (B, C T, K) where no transition is known."""
        return self.path_networks[str(table)].filter(units, self._scaled_parameters(features))

    def sample_paths(
        self, table: int, units: Units, features: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw paths (B, C T), with the probabilities (B, C T, K) of each of their steps."""
        network = self.path_networks[str(table)]
        return network.sample(units, self._scaled_parameters(features), generator)

    def _scaled_parameters(self, features: Tensor) -> Tensor:
        return self.parameter_scaling(_one_row(features)).values[:, 0]

    def losses(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the terms of the loss by name, as averages over data sets or units, in nats.

        ``"posterior"``: that of the posterior network, -log q(θ given y) where it has a density.
        ``"classification"``: the cross-entropy of indicators, from about 8 rows of each data set.
        """
        units = self.scaled(batch.units)
        context = self.context(units)
        posterior = context.new_zeros(())
        if self.posterior is not None:
            posterior = self.posterior.loss(batch.scores, context, generator).mean()
        terms = [
            self._cross_entropy(int(i), units[int(i)], batch, generator) for i in self.classifiers
        ]
        terms += [self._path_entropy(int(i), units[int(i)], batch) for i in self.path_networks]
        classification = sum(terms, start=posterior.new_zeros(()))
        return {"posterior": posterior, "classification": classification}

    def _cross_entropy(
        self, table: int, units: Units, batch: Batch, generator: torch.Generator | None
    ) -> Tensor:
        codes, known = batch.codes[table], units.mask
        log_states = batch.log_states.get(table)
        if log_states is not None:
            known = known & (batch.units[table].values[..., -1] > 0)
        if self.by_row[table]:
            rows = _some_rows(known, generator)
            units = units.rows(rows)
            known = known.gather(1, rows)
            codes = codes.gather(1, rows.unsqueeze(-1).expand(*rows.shape, codes.shape[-1]))
        log_q = self.classify(table, units, batch.features)
        if log_states is not None:
            places = rows.unsqueeze(-1).expand(*rows.shape, log_states.shape[-1])
            log_q = (log_q + log_states.gather(1, places).unsqueeze(2)).log_softmax(-1)
        terms = -log_q.gather(-1, codes.unsqueeze(-1)).squeeze(-1)  # (B, N, J)
        if not self.by_row[table]:
            return terms.mean()
        weight = known.unsqueeze(-1).to(terms.dtype).expand(terms.shape)
        return (terms * weight).sum() / weight.sum().clamp(min=1)

    def _path_entropy(self, table: int, units: Units, batch: Batch) -> Tensor:
        """Return the cross-entropy of paths and of filtering, of the first few data sets."""
        rows = _ROWS_PER_DATASET * len(batch)
        few = slice(max(_MIN_SEQUENCES, -(-rows // units.mask.shape[1])))
        parameters = self._scaled_parameters(batch.features[few])
        codes = batch.codes[table][few, :, 0]
        along_path, filtered = self.path_networks[str(table)](units.select(few), parameters, codes)
        return -(along_path.mean() + filtered.mean())


def _one_row(features: Tensor) -> Units:
    """Return parameters (B, P) in the form of units with one row."""
    mask = torch.ones(features.shape[0], 1, dtype=torch.bool, device=features.device)
    return Units(features.unsqueeze(1), mask)


def _some_rows(known: Tensor, generator: torch.Generator | None) -> Tensor:
    """Pick up to 8 rows (B, M) of each data set at random, those not in use last."""
    num_datasets, num_rows = known.shape
    if num_rows > _ROWS_PER_DATASET and bool(known.all()):
        shape = (num_datasets, _ROWS_PER_DATASET)
        return torch.randint(num_rows, shape, generator=generator, device=known.device)
    order = torch.rand(known.shape, generator=generator, device=known.device)
    return (order - known.float()).argsort(dim=1)[:, :_ROWS_PER_DATASET]
