"""Components in order: the transform and its density."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc.model.transform.conditioning import change_value_transforms

from pymc_amortized.model.ordered_prior import LabelOrder
from tests.symmetry.symmetric_models import simulators_of


@pytest.mark.usefixtures("interpreted")
def test_density_in_order_is_that_of_pymcs_ordered_transform():
    simulator, ordered, _ = simulators_of("mixture")
    transform = pm.distributions.transforms.ordered
    restricted = change_value_transforms(simulator.model, {"mu": transform})
    log_p = restricted.compile_logp(sum=False, jacobian=True)
    draws = ordered.sample(5, 3).parameters
    vector = ordered.parameters.split(ordered.parameters.unconstrain(draws))
    ours = ordered.density.log_prior(vector) + ordered.density.log_marginal(
        draws, ordered.observed_data
    )
    names = {v.name.split("_")[0]: v.name for v in restricted.value_vars}
    for s in range(5):
        point = {names[name]: x[s].numpy() for name, x in vector.items()}
        assert sum(x.sum() for x in log_p(point)) == pytest.approx(float(ours[s]))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("column", "blocks", "shape"),
    [
        ((None,), [(0, 1, 2)], (3,)),
        ((None, 1), [(0, 2), (1, 3)], (4, 2)),
        ((0, None), [(1, 2)], (2, 3)),
    ],
)
def test_transform_is_a_bijection_with_its_jacobian(column, blocks, shape, descending):
    order = LabelOrder(column, blocks, descending=descending)
    value = np.random.default_rng(1).normal(size=shape)
    there = order.backward(pt.as_tensor(value)).eval()
    at = tuple(slice(None) if i is None else i for i in column)
    for block in blocks:
        rises = np.diff(there[at][list(block)]) > 0
        assert (~rises if descending else rises).all()
    np.testing.assert_allclose(order.forward(pt.as_tensor(there)).eval(), value, atol=1e-12)
    log_det = order.log_jac_det(pt.as_tensor(value)).eval()
    step, columns = 1e-6, []
    for i in range(value.size):
        moved = value.copy().ravel()
        moved[i] += step
        after = order.backward(pt.as_tensor(moved.reshape(shape))).eval()
        columns.append((after - there).ravel() / step)
    _, expected = np.linalg.slogdet(np.array(columns))
    assert log_det.shape == shape
    assert log_det.sum() == pytest.approx(expected, abs=1e-4)
