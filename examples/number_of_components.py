"""How many kinds of eruptions has Old Faithful? Mixtures of normals, compared.

    python examples/number_of_components.py [--largest 3]

Waiting times between 272 eruptions (Azzalini & Bowman, 1990; ``examples/data/faithful.csv``).
"""

import argparse
import pathlib

import numpy as np
import pymc as pm

import pymc_amortized as pma

DATA = pathlib.Path(__file__).parent / "data" / "faithful.csv"


def build(num_components: int, waiting: np.ndarray) -> pm.Model:
    """Standard deviations are kept from 0, where a mixture of rounded values has no posterior."""
    with pm.Model() as model:
        sigma = pm.LogNormal("sigma", np.log(8), 0.5, shape=num_components)
        mu = pm.Normal("mu", 70, 15, shape=num_components)
        if num_components == 1:
            pm.Normal("waiting", mu, sigma, observed=waiting)
        else:
            w = pm.Dirichlet("w", np.ones(num_components))
            pm.NormalMixture("waiting", w, mu, sigma, observed=waiting)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=3)
    numbers = range(1, parser.parse_args().largest + 1)
    waiting = np.genfromtxt(DATA, delimiter=",", names=True)["waiting"]
    found = pma.number_of_components(
        lambda number: build(number, waiting), numbers, random_seed=1, progressbar=False
    )
    print(found)
    print(found.comparison)


if __name__ == "__main__":
    main()
