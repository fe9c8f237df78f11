"""A learned distribution in a PyMC graph: the network's own density and draws."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from pymc_amortized.graph.callbacks.learned_distribution import (
    can_be_learned,
    core_arguments,
    learned_variable,
)
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from tests.networks.test_likelihood_network import disturbed


def _nothing(*parameters, rng=None, size=None):
    return np.zeros(size)


def build(num_values, *, is_discrete):
    """Return inputs, a learned variable, its network, and arguments and values for these."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(40, num_values))
    spread = rng.gamma(2, 1, 40)
    arguments = torch.as_tensor(np.c_[means, spread])
    values = means + rng.standard_t(2, (40, num_values))
    values = np.round(values) if is_discrete else np.abs(values)
    network = LikelihoodNetwork(num_values + 1, num_values, is_discrete=is_discrete)
    network.fit_scaling(arguments, torch.as_tensor(values))
    dtype = "int64" if is_discrete else "float64"
    b = pt.vector("b")
    if num_values == 1:
        a, event = pt.vector("a"), ()
        variable = pm.CustomDist.dist(a, b, random=_nothing, dtype=dtype)
        given = [means[:, 0], spread, values[:, 0].astype(dtype)]
    else:
        a, event = pt.matrix("a"), (num_values,)
        variable = pm.CustomDist.dist(a, b, random=_nothing, dtype=dtype, signature="(n),()->(n)")
        given = [means, spread, values.astype(dtype)]
    assert can_be_learned(variable)
    learned = learned_variable(variable, disturbed(network, size=0.3), event)
    return (a, b), learned, network, arguments, torch.as_tensor(values), given


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("num_values", [1, 3])
@pytest.mark.parametrize("is_discrete", [False, True])
def test_the_density_is_that_of_the_network(num_values, is_discrete):
    inputs, learned, network, arguments, values, given = build(num_values, is_discrete=is_discrete)
    with torch.no_grad():
        expected = network.log_prob(arguments, values).numpy()
    value = learned.type("value")
    log_density = elementwise_logp(learned, value, inputs)
    compiled = pytensor.function([*inputs, value], log_density)
    assert compiled(*given) == pytest.approx(expected, abs=1e-9)
    batched = density_graph([*inputs, value], [log_density])
    a, b, x = given
    several = [torch.as_tensor(np.stack([a, 2 * a])), torch.as_tensor(np.stack([b, 2 * b])), x]
    found = batched(several)[0].detach().numpy()
    assert found[0] == pytest.approx(expected, abs=1e-9)
    with torch.no_grad():
        twice = network.log_prob(2 * arguments, values).numpy()
    assert found[1] == pytest.approx(twice, abs=1e-9)
    # A planted fault: other arguments have another density.
    assert np.abs(twice - expected).max() > 0.1


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
@pytest.mark.parametrize("num_values", [1, 3])
def test_draws_are_those_of_the_network(num_values):
    inputs, learned, network, arguments, _, (a, b, _) = build(num_values, is_discrete=False)
    one = pytensor.function(list(inputs), learned)(a, b)
    assert one.shape == a.shape
    several, rng = [np.tile(x, (400, *(1,) * x.ndim)) for x in (a, b)], np.random.default_rng(3)
    many = learned.owner.op.rng_fn(rng, *several, None).reshape(400, 40, num_values)
    every = arguments.repeat(400, 1)
    own = network.sample(every, torch.Generator().manual_seed(2)).numpy()
    own = own.reshape(400, 40, num_values)
    for d in range(num_values):
        drawn, expected = np.median(many[..., d], 0), np.median(own[..., d], 0)
        spread = np.subtract(*np.quantile(own[..., d], [0.75, 0.25], axis=0))
        # Medians of 400 draws have errors of about 0.07 quartile ranges.
        assert (np.abs(drawn - expected) < 0.5 * spread).all()


def test_arguments_are_side_by_side():
    a, b = pt.matrix("a"), pt.scalar("b")
    variable = pm.CustomDist.dist(a, b, random=_nothing, signature="(n),()->(n)")
    found = core_arguments(variable).eval({a: np.arange(6.0).reshape(2, 3), b: 7.0})
    assert found.tolist() == [[0, 1, 2, 7], [3, 4, 5, 7]]
