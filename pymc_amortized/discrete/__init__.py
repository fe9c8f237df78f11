r"""Exact inference for discrete Markov chains: filtering, smoothing, joint paths, Viterbi.

Every function takes log probabilities with any batch axes, and loops over time alone. Letters in
shapes: T time points, K states, L the order of the chain (how many states back it looks).

A chain of order L is given by

- ``log_initial`` (\*batch, K, ..., K), L axes of states: :math:`\log p(z_1, \dots, z_L)`;
- ``log_transition`` (\*batch, K, ..., K), L + 1 axes of states:
  :math:`\log p(z_t \mid z_{t-L}, \dots, z_{t-1})`, the next state last; or
  (\*batch, T - L, K, ..., K) where it varies over time;
- ``log_emission`` (\*batch, T, K): :math:`\log p(y_t \mid z_t)`.

A time point is missing where ``mask`` is False. A sequence that is shorter than the others of its
batch is padded with missing points at its end.

References
----------
.. [1] Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications in
   speech recognition. Proceedings of the IEEE 77, 257-286.
.. [2] Scott, S. L. (2002). Bayesian methods for hidden Markov models: recursive computing in the
   21st century. Journal of the American Statistical Association 97, 337-351.
"""

from pymc_amortized.discrete.chain import MarkovChain
from pymc_amortized.discrete.decoding import (
    Decoded,
    ViterbiPath,
    decode,
    sample_paths,
    viterbi,
)
from pymc_amortized.discrete.forward_backward import (
    Filtered,
    backward_messages,
    forward_filter,
    smooth,
)
from pymc_amortized.discrete.simulate_states import simulate_states, state_probabilities

__all__ = [
    "Decoded",
    "Filtered",
    "MarkovChain",
    "ViterbiPath",
    "backward_messages",
    "decode",
    "forward_filter",
    "sample_paths",
    "simulate_states",
    "smooth",
    "state_probabilities",
    "viterbi",
]
