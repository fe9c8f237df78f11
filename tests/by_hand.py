"""Many draws of variables by PyMC itself: in one batch where it can, and one by one where not."""

import numpy as np
import pymc as pm
import pytensor

from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.distributions.shape_utils import change_dist_size
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.compat import reference_mode

ONE_BY_ONE = 5_000


def draw(variables, num_draws, seed):
    """Return draws (num_draws, *shape) of variables, jointly; fewer if each takes its time."""
    options = {"random_seed": seed, "mode": reference_mode()}
    try:
        batch = _batched(variables, num_draws)
        with pytensor.config.change_flags(cxx=""):
            draws = pm.draw(batch, **options)
    except (NotImplementedError, ValueError):  # such as a scan, or a size that is given
        num_draws = min(num_draws, ONE_BY_ONE)
        draws = pm.draw(variables, draws=num_draws, **options)
    draws = [np.asarray(x) for x in draws]
    assert all(x.shape[0] == num_draws for x in draws)
    return draws


def _batched(variables, num_draws):
    """Give what is drawn first a leading axis, and have PyTensor carry it on."""
    first = [
        v
        for v in ancestors(variables)
        if _is_random(v) and not any(map(_is_random, ancestors(v.owner.inputs)))
    ]
    larger = {v: change_dist_size(v, (num_draws,), expand=True) for v in first}
    return vectorize_graph(variables, larger)


def _is_random(variable):
    node = variable.owner
    return (
        node is not None
        and isinstance(node.op, RandomVariable | SymbolicRandomVariable)
        and node.outputs.index(variable) == node.op.default_output
    )
