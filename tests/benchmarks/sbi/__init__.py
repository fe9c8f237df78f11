"""The ten tasks of the benchmark of simulation-based inference [1]_, as PyMC models.

References
----------
.. [1] Lueckmann, J.-M., Boelts, J., Greenberg, D. S., Gonçalves, P. J. & Macke, J. H. (2021).
   Benchmarking simulation-based inference. AISTATS. arXiv:2101.04653
"""

from tests.benchmarks.sbi.differential import lotka_volterra, sir
from tests.benchmarks.sbi.tasks import (
    bernoulli_glm,
    bernoulli_glm_raw,
    gaussian_linear,
    gaussian_linear_uniform,
    gaussian_mixture,
    slcp,
    slcp_distractors,
    two_moons,
)

__all__ = ["TASKS"]

TASKS = {
    task.__name__: task
    for task in (
        gaussian_linear,
        gaussian_linear_uniform,
        gaussian_mixture,
        bernoulli_glm,
        bernoulli_glm_raw,
        slcp,
        slcp_distractors,
        two_moons,
        sir,
        lotka_volterra,
    )
}
