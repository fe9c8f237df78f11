"""What simulations must be, for networks to learn from them."""

import numpy as np
import pytest
import torch

from pymc_amortized.errors import InvalidDataError, NonFiniteSimulationError
from pymc_amortized.simulation.simulated_data import Simulation, check_finite


def simulated(y, mu=(0.5, 1.5)):
    return Simulation({"mu": torch.tensor(mu)}, {}, {"y": torch.tensor(y)})


def test_values_that_are_finite():
    check_finite(simulated([[1.0, 2.0], [3.0, 4.0]]), {"x": np.ones(2)})
    check_finite(simulated([[1, 2], [3, 4]]), {})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not(bad):
    with pytest.raises(NonFiniteSimulationError, match=r"'y' is NaN or infinite in 1 of 2") as one:
        check_finite(simulated([[1.0, 2.0], [3.0, bad]]), {"x": np.ones(2)})
    assert one.value.variable == "y"
    assert one.value.parameters["mu"] == 1.5
    with pytest.raises(NonFiniteSimulationError, match="'mu'"):
        check_finite(simulated([[1.0], [2.0]], (0.0, bad)), {})


def test_a_covariate_may_be_why():
    with pytest.raises(InvalidDataError, match=r"'x'; 1 of 3 .* first at \(2,\)") as caught:
        check_finite(
            simulated([[float("nan")]] * 2), {"z": np.ones(3), "x": np.array([1, 2, np.nan])}
        )
    assert isinstance(caught.value.__cause__, NonFiniteSimulationError)


def test_all_of_it_by_name():
    arrays = simulated([[1.0], [2.0]]).arrays
    assert list(arrays) == ["mu", "y"]
    assert arrays["y"].shape == (2, 1)
