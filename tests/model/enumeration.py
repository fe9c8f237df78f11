"""Densities and memberships of models with several indicators, by sums over all of their values."""

import itertools

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray

from scipy.special import logsumexp

import pymc_amortized as pma

from pymc_amortized.compat import reference_mode

__all__ = ["build", "require_enumeration"]


def build(define):
    """Return the model, and how many values each of its discrete variables has."""
    with pm.Model() as model:
        counts = define()
    return model, counts


def enumerate_all(model, counts, parameters):
    """Return every value of all indicators, and log p(z, y given θ) of each."""
    point = model.initial_point()
    for name, x in parameters.items():
        transform = model.rvs_to_transforms[model[name]]
        value = model.rvs_to_values[model[name]]
        if transform is None:
            point[value.name] = x
        else:
            inputs = model[name].owner.inputs
            point[value.name] = transform.forward(pt.constant(x), *inputs).eval()
    shapes = {name: point[name].shape for name in counts}
    discrete = [model[name] for name in counts]
    logp = model.compile_logp([*discrete, *model.observed_RVs], mode=reference_mode())
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    choices = [range(k) for k, n in zip(counts.values(), sizes, strict=True) for _ in range(n)]
    values, densities = {name: [] for name in counts}, []
    for combination in itertools.product(*choices):
        pieces = np.split(np.array(combination), np.cumsum(sizes)[:-1])
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True):
            point[name] = piece.reshape(shape)
            values[name].append(point[name])
        densities.append(float(logp(point)))
    return {name: np.array(x) for name, x in values.items()}, np.array(densities)


def one_draw(parameters):
    arrays = {
        name: (["chain", "draw", *(f"{name}_dim_{i}" for i in range(x.ndim))], x[None, None])
        for name, x in parameters.items()
    }
    return xarray.DataTree.from_dict({"posterior": xarray.Dataset(arrays)})


def require_enumeration(define):
    """Compare densities, and memberships of each indicator, with sums over all values."""
    model, counts = build(define)
    simulator = pma.compile_simulator(model)
    draws = simulator.sample(2, 1)
    found = simulator.density.log_marginal(draws.parameters, simulator.observed_data)
    for s in range(2):
        parameters = {n: x[s].numpy() for n, x in draws.parameters.items()}
        values, densities = enumerate_all(model, counts, parameters)
        assert float(found[s]) == pytest.approx(logsumexp(densities), abs=1e-8)
        added = pma.add_indicators(one_draw(parameters), model, random_seed=1)
        weights = np.exp(densities - logsumexp(densities))
        for name, z in values.items():
            tables = added["indicator_probabilities"]
            table = tables[f"{name}_smoothing" if f"{name}_smoothing" in tables else name]
            table = table.to_numpy()
            expected = [np.tensordot(weights, z == k, 1) for k in range(counts[name])]
            np.testing.assert_allclose(table, np.stack(expected, -1), atol=1e-8)
