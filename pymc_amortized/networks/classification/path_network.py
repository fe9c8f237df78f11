"""The network of states that a model can draw, but says no probabilities of."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.classification.unit_classifier import UnitClassifier
from pymc_amortized.networks.layers import Perceptron
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["PathNetwork"]

_PARAMETER_WIDTH = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """What has been read of n sequences of T time points, and of their parameters.

    Attributes
    ----------
    inputs : Tensor, shape (n, T, F + K + E)
        Of the networks that run along time.
    evidence : Tensor, shape (n, T, K)
        Of each time point for each state, in nats, up to a number for each time point.
    ahead : Tensor, shape (n, T, H)
        Of each time point and those after it.
    parameters : Tensor, shape (n, E)
        A few numbers for them.
    moves : Tensor, shape (n, K + 1, K)
        Logits of the next state given the one before; in the first row, given none.
    """

    inputs: Tensor
    evidence: Tensor
    ahead: Tensor
    parameters: Tensor
    moves: Tensor


class PathNetwork(nn.Module):
    r"""Probabilities of states given the data and the parameters, where no transition is known.

    A path is a product of its steps, and so is what the network says of it,

    .. math:: q(z_{1:T} \mid y, \theta) = \prod_t q(z_t \mid z_{<t}, y_{t:T}, \theta),

    which loses nothing, for given the states before, the observations before say no more. What
    lies before is read by one recurrent network along the path, what lies ahead by another that
    runs backwards along the data: states may depend on any number of states before them.
    Filtering has a recurrent network of its own, which is causal.

    Parameters
    ----------
    shape : UnitShape
        Of sequences.
    num_parameters : int
        P, the features of parameters.
    width : int
        H, of the recurrent networks.

    Raises
    ------
    ValueError
        If rows are a set.
    """

    def __init__(self, shape: UnitShape, num_parameters: int, width: int = 64) -> None:
        super().__init__()
        shape.require_sequences()
        self.num_sequences, self.num_states = shape.num_sequences, shape.num_components
        num_parameters = max(1, num_parameters)
        self.evidence = UnitClassifier(shape, num_parameters)
        self.parameters_in = Perceptron(num_parameters, _PARAMETER_WIDTH, width, 1)
        self.moves = Perceptron(num_parameters, (self.num_states + 1) * self.num_states, width, 1)
        num_inputs = shape.num_features + self.num_states + _PARAMETER_WIDTH
        self.causal = nn.GRU(num_inputs, width, batch_first=True)
        self.backward = nn.GRU(num_inputs, width, batch_first=True)
        self.path = nn.GRU(self.num_states + 1 + _PARAMETER_WIDTH, width, batch_first=True)
        self.filtering = Perceptron(width + _PARAMETER_WIDTH, self.num_states, width, 1)
        self.step = Perceptron(2 * width + _PARAMETER_WIDTH, self.num_states, width, 1)

    def forward(self, units: Units, parameters: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log probability of each state of given paths.

        Parameters
        ----------
        units : Units
            B data sets of C sequences of T time points.
        parameters : Tensor, shape (B, P)
            Scaled.
        codes : Tensor of int64, shape (B, C T)
            States.

        Returns
        -------
        along_path, filtered : Tensor, shape (B, C T)
            In nats: given the states before it and all data, and given the data up to it.
        """
        read = self._read(units, parameters)
        states = codes.unflatten(1, (self.num_sequences, -1)).flatten(0, 1)
        before = F.pad(states[:, :-1] + 1, (1, 0))
        history, _ = self.path(self._steps_in(before, read))
        along_path = self._log_step(before, history, read.ahead, read.evidence, read)
        return tuple(
            log_q.gather(-1, states.unsqueeze(-1)).view(len(codes), -1)
            for log_q in (along_path, self._log_filtering(read))
        )

    def filter(self, units: Units, parameters: Tensor) -> Tensor:
        """Return log q(z_t given y up to t, θ) (B, C T, K)."""
        return self._join_sequences(self._log_filtering(self._read(units, parameters)))

    def sample(
        self, units: Units, parameters: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a path for each data set.

        Returns
        -------
        codes : Tensor of int64, shape (B, C T)
            States.
        probabilities : Tensor, shape (B, C T, K)
            Of each state given those drawn before it and all data: their mean over paths is the
            smoothing distribution.
        """
        read = self._read(units, parameters)
        num_sequences, num_times = read.evidence.shape[:2]
        device = read.evidence.device
        before = torch.zeros(num_sequences, 1, dtype=torch.int64, device=device)
        uniform = torch.rand(num_sequences, num_times, 1, generator=generator, device=device)
        memory, codes, probabilities = None, [], []
        for t in range(num_times):
            now = slice(t, t + 1)
            history, memory = self.path(self._steps_in(before, read), memory)
            log_q = self._log_step(before, history, read.ahead[:, now], read.evidence[:, now], read)
            p = log_q.exp()
            code = (p.cumsum(-1)[..., :-1] < uniform[:, now]).sum(-1)
            codes.append(code)
            probabilities.append(p)
            before = code + 1
        return (
            self._join_sequences(torch.cat(codes, dim=1)),
            self._join_sequences(torch.cat(probabilities, dim=1)),
        )

    def _read(self, units: Units, parameters: Tensor) -> _Reading:
        if parameters.shape[-1] == 0:
            parameters = parameters.new_zeros(*parameters.shape[:-1], 1)
        evidence = self._split_sequences(self.evidence(units, parameters)[:, :, 0])
        values = self._split_sequences(units.values)
        embedded = self.parameters_in(parameters).repeat_interleave(self.num_sequences, dim=0)
        moves = self.moves(parameters).unflatten(-1, (self.num_states + 1, self.num_states))
        spread = embedded.unsqueeze(1).expand(-1, values.shape[1], -1)
        inputs = torch.cat([values, evidence, spread], dim=-1)
        ahead, _ = self.backward(inputs.flip(1))
        moves = moves.repeat_interleave(self.num_sequences, dim=0)
        return _Reading(inputs, evidence, ahead.flip(1), embedded, moves)

    def _log_filtering(self, read: _Reading) -> Tensor:
        seen, _ = self.causal(read.inputs)
        known = torch.cat([seen, self._spread(read, seen)], dim=-1)
        return (self.filtering(known) + read.evidence).log_softmax(-1)

    def _log_step(
        self, before: Tensor, history: Tensor, ahead: Tensor, evidence: Tensor, read: _Reading
    ) -> Tensor:
        """Return log q (n, t, K) of states given those before, code + 1 (n, t) or 0 for none."""
        known = torch.cat([history, ahead, self._spread(read, ahead)], dim=-1)
        moves = read.moves.gather(1, before.unsqueeze(-1).expand(*before.shape, self.num_states))
        return (self.step(known) + moves + evidence).log_softmax(-1)

    def _steps_in(self, before: Tensor, read: _Reading) -> Tensor:
        one_hot = F.one_hot(before, self.num_states + 1).to(read.parameters.dtype)
        return torch.cat([one_hot, self._spread(read, one_hot)], dim=-1)

    @staticmethod
    def _spread(read: _Reading, like: Tensor) -> Tensor:
        return read.parameters.unsqueeze(1).expand(-1, like.shape[1], -1)

    def _split_sequences(self, table: Tensor) -> Tensor:
        """Bring (B, C T, ...) to (B C, T, ...)."""
        return table.unflatten(1, (self.num_sequences, -1)).flatten(0, 1)

    def _join_sequences(self, table: Tensor) -> Tensor:
        """Bring (B C, T, ...) to (B, C T, ...)."""
        return table.unflatten(0, (-1, self.num_sequences)).flatten(1, 2)
