"""What can be asked, checked first."""

import pytest

from pymc_amortized.errors import (
    InvalidArgumentError,
    SamplerArgumentError,
)
from tests.answered import sample

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"draws": 0}, InvalidArgumentError),
        ({"chains": 0}, InvalidArgumentError),
        ({"draws": 2.5}, InvalidArgumentError),
        ({"correction": "mcmc?"}, InvalidArgumentError),
        ({"var_names": ["nothing"]}, InvalidArgumentError),
        ({"var_names": "mu"}, InvalidArgumentError),
        ({"idata_kwargs": {"nothing": 1}}, SamplerArgumentError),
    ],
    ids=str,
)
def test_bad_arguments(trained, options, error):
    _, posterior = trained("mixture")
    with pytest.raises(error, match="Expected"):
        sample(posterior, **options)
