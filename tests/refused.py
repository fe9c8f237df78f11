"""Models that are refused, and in each the place where its way out goes.

A model is defined with ``here``, which stands around what is refused: it returns what is written,
or runs the code of the message in its place, with the names that a user has or has to choose.
``kind`` is what docs/models.md calls it.
"""

import ast
import functools
import warnings

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pymc_extras as pmx
import pytensor.tensor as pt

from pymc.dims.distributions.transforms import DimTransform
from pymc.distributions.transforms import ordered

from pymc_amortized import errors

Y = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
N = len(Y)
HALF = np.array([0.5, 0.5])
LIBRARIES = {"np": np, "pm": pm, "pmx": pmx, "pt": pt}


@dataclass(frozen=True)
class Refused:
    """A model that is refused, and what the error says of it."""

    name: str
    kind: str
    says: str
    define: Callable
    error: type[Exception] = errors.UnsupportedModelError
    line: int | None = None
    """Which line of the code is followed, where each is a way out of its own."""
    answered: bool = False
    """Whether it is refused where it is answered, and not where it is read."""

    def model(self, code: str | None = None) -> pm.Model:
        """Build the model as it is refused, or with the code of the message in its place."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyMC says of missing values
            with pm.Model() as model:
                self.define(functools.partial(_here, code))
        return model


def _here(code, written, **names):
    return written() if code is None else run(code, names)


def code_of(message: str, line: int | None = None) -> str:
    """Return the code of a message: its indented lines, or one of them."""
    lines = [text[4:] for text in message.splitlines() if text.startswith("    ")]
    return "\n".join(lines) if line is None else lines[line]


def run(code: str, names: dict):
    """Run code, and return what its last statement defines or is."""
    *before, last = ast.parse(code).body
    scope = {**LIBRARIES, **names}
    if isinstance(last, ast.Expr):
        exec(compile(ast.Module(before, []), "<message>", "exec"), scope)
        return eval(compile(ast.Expression(last.value), "<message>", "eval"), scope)
    exec(code, scope)
    defined = last.name if isinstance(last, ast.FunctionDef) else ast.unparse(last.targets[0])
    return eval(defined, scope)


REFUSED: list[Refused] = []


def refused(kind, says, **options):
    def register(define):
        REFUSED.append(Refused(define.__name__, kind, says, define, **options))
        return define

    return register


def mean():
    return pm.Normal("mu", 0, 1)


def normal(value, mu):
    return -((value - mu) ** 2) / 2 - np.log(2 * np.pi) / 2


# What is observed ------------------------------------------------------------------------------


@refused("no observed variable", "at least one observed variable", error=errors.ModelReadingError)
def nothing_observed(here):
    mu = pm.Normal("mu", 0, 1, shape=2)
    here(lambda: None, w=HALF, mu=mu, sigma=1, data=Y)


@refused("observations that are not numbers", "got complex128", error=errors.ModelReadingError)
def complex_numbers(here):
    codes = here(lambda: (Y.astype(complex), None), y=Y, pandas=__import__("pandas"))[0]
    y = pm.Normal("y", mean(), 1, observed=Y)
    pm.modelcontext(None).rvs_to_values[y] = pt.constant(codes)


@refused("`total_size=`", "Simulations are of whole data sets")
def minibatches(here):
    mu = mean()
    here(lambda: pm.Normal("y", mu, 1, observed=Y, total_size=100), mu=mu, sigma=1, data=Y)


@refused("missing parts of a multivariate value", "'y' to be observed or missing as a whole")
def missing_parts(here, masked=False):
    data = np.arange(6.0).reshape(3, 2)
    mask = np.array([[False, True], [False, False], [True, True]])
    data = np.ma.array(data, mask=mask) if masked else np.where(mask, np.nan, data)
    data = here(lambda: data, data=data)
    pm.MvNormal("y", pm.Normal("mu", 0, 1, shape=2), np.eye(2), observed=data)


@refused("missing parts of a multivariate value", "'y' to be observed or missing as a whole")
def masked_parts(here):
    missing_parts(here, masked=True)


@refused("an observation that depends on missing values of another", "'y' depends on 'x', some")
def depends_on_missing_values(here):
    data, mu = np.array([0.0, np.nan, 1.0, np.nan, 2.0]), mean()
    x = here(lambda: pm.Normal("x", mu, 1, observed=data), data=data, mu=mu, sigma=1)
    pm.Normal("y", x, 1, observed=Y)


@refused("no parameters and no indicators", "neither", answered=True)
def nothing_to_infer(here):
    pm.Normal("y", here(lambda: 0.0), 1, observed=Y)


@refused(
    "data at which the density is infinite",
    "of 'y' at [0]",
    error=errors.UnboundedDensityError,
    answered=True,
)
def infinite_density(here):
    y, w = np.array([0.0, 0.2, 0.5, 0.1, 0.9]), HALF
    component = pm.Beta.dist(pm.Gamma("a", 2, 4), 1)
    components = [pm.Beta.dist(1, 2), component]
    here(lambda: pm.Mixture("y", w, components, observed=y), w=w, component=component, y=y)


# What depends on what ---------------------------------------------------------------------------


@refused("a parameter that depends on an indicator", "'x' depends on 'z'")
def parameter_of_an_indicator(here):
    mu, z = pm.Normal("mu", 0, 1, shape=2), pm.Bernoulli("z", 0.4, shape=N)
    x = here(lambda: pm.Normal("x", mu[z], 0.5), mu=mu, z=z, sigma=0.5, shape=N)
    pm.Normal("y", x, 1, observed=Y)


@refused("a parameter or an indicator that depends on an observed variable", "'mu' depends on 'x'")
def parameter_of_data(here):
    x = pm.Normal("x", pm.Normal("theta", 0, 1), 1, observed=Y)
    pm.Normal("y", pm.Normal("mu", here(lambda: x, data=Y).mean(), 1), 1, observed=Y)


@refused("a parameter or an indicator that depends on an observed variable", "'z' depends on 'x'")
def indicator_of_data(here):
    x = pm.Normal("x", pm.Normal("theta", 0, 1), 1, observed=Y)
    z = pm.Bernoulli("z", pm.math.sigmoid(here(lambda: x, data=Y)))
    pm.Normal("y", mean() * z, 1, observed=Y)


@refused("a potential that depends on data", "'term' depends on data")
def potential_of_data(here):
    mu, x = mean(), pm.Data("x", Y)
    names = {"parameters": [mu], "logp": normal, "data": Y, "random": normal_draws}
    here(lambda: pm.Potential("term", normal(x, mu).sum()), **names)
    pm.Normal("y", mu, 1, observed=Y)


def normal_draws(mu, rng=None, size=None):
    return rng.normal(mu, 1, size=size)


@refused("an observation that depends on draws without a name", "variables that the model names")
def draws_without_a_name(here):
    def draw_states(p, size):
        return pt.cumsum(pm.Bernoulli.dist(p, shape=N)) % 2

    z = here(lambda: draw_states(0.3, N), arguments=[0.3], draw_states=draw_states, T=N)
    pm.Normal("y", mean() * z, 1, observed=Y)


# Priors -----------------------------------------------------------------------------------------


@refused("improper priors (`pm.Flat`, `pm.HalfFlat`)", "got 'flat'")
def flat(here):
    pm.Normal("y", here(lambda: pm.Flat("mu"), name="mu"), 1, observed=Y)


@refused("improper priors (`pm.Flat`, `pm.HalfFlat`)", "got 'half_flat'")
def half_flat(here):
    pm.Normal("y", 0, here(lambda: pm.HalfFlat("sigma"), name="sigma"), observed=Y)


@refused("a potential with values other than 0 and -inf", "-inf where they are not; got")
def potential_that_weighs(here):
    mu = mean()
    here(lambda: pm.Potential("term", -(mu**2)), allowed=mu > 0)
    pm.Normal("y", mu, 1, observed=Y)


CONSTRAINTS = "constraints that fewer than 1 in 1,000 prior draws satisfy"


@refused(CONSTRAINTS, "constraints of ['mu']", error=errors.AcceptanceRateError)
def unlikely_order(here):
    means, mu0 = np.arange(8.0)[::-1], pm.Normal("mu0", 0, 1)
    mu = here(lambda: pm.Normal("mu", means, 0.5, transform=ordered), K=8, mu0=mu0)
    pm.Normal("y", mu[:N], 1, observed=Y)


@refused(CONSTRAINTS, "constraints of ['far']", error=errors.AcceptanceRateError)
def unlikely_constraint(here):
    def as_written():
        mu = mean()
        pm.Potential("far", pt.switch(mu > 4, 0, -np.inf))
        return mu

    mu = here(as_written, mean=0, sd=1, lower=4, upper=None)
    pm.Normal("y", mu, 1, observed=Y)


@refused(
    "a prior whose density torch cannot compute",
    "priors with a density",
    error=errors.DensityUnavailableError,
)
def prior_without_a_density(here):
    x = here(lambda: pm.CustomDist("x", 0.0, random=normal_draws), mean=0, sd=1)
    pm.Normal("y", x, 1, observed=Y)


@refused(
    "a prior at the edge of its support",
    "most of p lie at its edge",
    error=errors.NonFiniteSimulationError,
    answered=True,
)
def prior_at_its_edge(here):
    pm.Bernoulli("y", here(lambda: pm.Beta("p", 1, 1e-5)), observed=[0, 1])


@refused("a truncated variable without mass between its bounds", "mass between its bounds")
def no_mass(here):
    dist, lower, upper = pm.Gamma.dist(1, 1), 4.0, 5.0
    names = {"name": "x", "dist": dist, "lower": lower, "upper": upper}
    x = here(lambda: pm.Truncated("x", dist, lower=lower, upper=upper, max_n_steps=5), **names)
    pm.Normal("y", x, 1, observed=Y)


class Own(DimTransform):
    name = "own"

    def forward(self, value, *_):
        return value

    def backward(self, value, *_):
        return value

    def log_jac_det(self, value, *_):
        return 0 * value


@refused("transforms of one's own in `pymc.dims`", "'mu' to have one of PyMC's transforms")
def transform_of_ones_own(here):
    pm.modelcontext(None).add_coord("group", ["a", "b"])
    names = {"mean": 0, "sd": 1, "dims": ("group",), "transform": ordered}
    mu = here(lambda: pmd.Normal("mu", 0, 1, dims="group", transform=Own()), **names)
    pmd.Normal("y", mu, 1, observed=pmd.as_xtensor(Y[:2], dims=("group",)))


# Functions --------------------------------------------------------------------------------------


def _custom(here):
    def dist(mu, size):
        return pm.math.exp(pm.Normal.dist(mu, 1, size=size))

    mu, y = mean(), np.exp(Y)
    names = {"dist": dist, "logp": normal, "random": normal_draws, "data": y}
    here(lambda: pm.CustomDist("y", mu, logp=normal, observed=y), parameters=[mu], **names)


@refused("a `pm.CustomDist` without `dist=` or `random=`", "a way to be simulated", line=0)
def without_dist(here):
    _custom(here)


@refused("a `pm.CustomDist` without `dist=` or `random=`", "a way to be simulated", line=1)
def without_random(here):
    _custom(here)


@refused("a function that returns more axes than the size has", "to return 1 axes")
def too_many_axes(here):
    def random(mu, rng=None, size=None):
        return rng.normal(mu, 1, size=size)[None]

    random = here(lambda: random, random=random)
    pm.CustomDist("y", mean(), logp=normal, random=random, observed=Y)


@refused(
    "NaN or infinite simulations", "'y' is NaN or infinite", error=errors.NonFiniteSimulationError
)
def infinite_simulations(here):
    mu = pm.Normal("mu", 0, 1)
    here(lambda: None, condition=mu > 0)
    pm.Normal("y", pt.log(mu), 1, observed=Y)
