"""Models as strangers write them: from user guides, forums, and textbooks of many fields.

Each is a few data of the size that allows to sum over every value of every indicator. ``counts``
says how many values each discrete variable has; where there are none, indicators are summed out
in what PyMC has for the density. Draws are compared with those of the model itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

__all__ = ["STRANGERS", "Stranger"]


@dataclass(frozen=True)
class Stranger:
    """A model, what it is of, and how many values each of its discrete variables has."""

    name: str
    what: str
    model: Callable[[], pm.Model]
    counts: dict[str, int] = field(default_factory=dict)
    atoms: bool = False
    """Whether PyMC's density at atoms differs from that of its own draws."""


STRANGERS: list[Stranger] = []

X = np.array([-1.2, -0.3, 0.1, 0.9, 1.6])
Y = np.array([-1.5, 0.2, 0.4, 1.9, -3.0])
COUNTS = np.array([0, 2, 0, 5, 1])
GROUP = np.array([0, 1, 0, 1, 1])
TIMES = np.arange(5.0)


def stranger(what, atoms=False, **counts):
    def register(define):
        def model():
            with pm.Model() as m:
                define()
            return m

        STRANGERS.append(Stranger(define.__name__, what, model, counts, atoms))
        return define

    return register


# Outliers, and regressions --------------------------------------------------------------------


@stranger("a line with outliers, as a mixture of a narrow and a wide error")
def line_with_outliers():
    a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
    sigma = pm.HalfNormal("sigma", 1)
    share = pm.Beta("share", 1, 5)
    components = [pm.Normal.dist(a + b * X, sigma), pm.Normal.dist(0, 10)]
    pm.Mixture("y", pt.stack([1 - share, share]), components, observed=Y)


@stranger("a line with outliers, each with an indicator of its own", outlier=2)
def line_with_flags():
    a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
    wide = pm.HalfNormal("wide", 10)
    outlier = pm.Bernoulli("outlier", pm.Beta("share", 1, 5), shape=5)
    pm.Normal("y", a + b * X, pm.math.switch(outlier, 1 + wide, 1.0), observed=Y)


@stranger("regressions whose slopes and weights differ by component", z=3)
def three_regressions():
    w = pm.Dirichlet("w", np.ones(3))
    beta = pm.Normal("beta", 0, 2, shape=(3, 2))
    z = pm.Categorical("z", w, shape=5)
    pm.Normal("y", beta[z, 0] + beta[z, 1] * X, pm.HalfNormal("sigma", 1), observed=Y)


@stranger("robust components: Student t with degrees of freedom of their own")
def student_components():
    w = pm.Dirichlet("w", np.ones(2))
    nu = pm.Gamma("nu", 2, 0.1, shape=2)
    mu = pm.Normal("mu", [-1, 1], 1)
    pm.Mixture("y", w, pm.StudentT.dist(nu=nu, mu=mu, sigma=1), observed=Y)


@stranger("skewed components")
def skewed_components():
    w = pm.Dirichlet("w", np.ones(2))
    alpha = pm.Normal("alpha", 0, 3, shape=2)
    pm.Mixture("y", w, pm.SkewNormal.dist(mu=[-1.0, 1.0], sigma=1.5, alpha=alpha), observed=Y)


@stranger("quantile regressions: asymmetric Laplace components")
def quantile_components():
    w = pm.Dirichlet("w", np.ones(2))
    mu, b = pm.Normal("mu", 0, 2, shape=2), pm.HalfNormal("b", 1)
    components = [
        pm.AsymmetricLaplace.dist(mu=mu[k], b=1 + b, q=q) for k, q in enumerate((0.2, 0.8))
    ]
    pm.Mixture("y", w, components, observed=Y)


@stranger("effects of groups beside those of components", z=2)
def components_and_group_effects():
    spread = pm.HalfNormal("spread", 1)
    effect = pm.Normal("effect", 0, spread, shape=2)
    mu = pm.Normal("mu", [-2, 2], 1)
    z = pm.Bernoulli("z", 0.4, shape=5)
    pm.Normal("y", mu[z] + effect[GROUP], 1, observed=Y)


@stranger("weights of each group, below common ones", z=2)
def weights_of_groups():
    concentration = pm.Gamma("concentration", 2, 1, shape=2)
    w = pm.Dirichlet("w", concentration, shape=(2, 2))
    z = pm.Categorical("z", w[GROUP], shape=5)
    pm.Normal("y", pm.Normal("mu", [-1, 1], 1)[z], 1, observed=Y)


@stranger("non-centred means of components", z=3)
def non_centred_means():
    level, spread = pm.Normal("level", 0, 1), pm.HalfNormal("spread", 2)
    raw = pm.Normal("raw", 0, 1, shape=3)
    mu = pm.Deterministic("mu", level + spread * raw)
    z = pm.Categorical("z", np.ones(3) / 3, shape=5)
    pm.Normal("y", mu[z], 0.7, observed=Y)


@stranger("a Dirichlet process, cut off, with sticks broken by hand")
def sticks_by_hand():
    alpha = pm.Gamma("alpha", 1, 1)
    beta = pm.Beta("beta", 1, alpha, shape=4)
    rest = pt.concatenate([[1.0], pt.extra_ops.cumprod(1 - beta)[:-1]])
    w = pm.Deterministic("w", pt.concatenate([beta * rest, [pt.prod(1 - beta)]]))
    pm.NormalMixture("y", w, pm.Normal("mu", 0, 3, shape=5), 1, observed=Y)


@stranger("StickBreakingWeights")
def stick_breaking_weights():
    w = pm.StickBreakingWeights("w", alpha=pm.Gamma("alpha", 2, 1), K=3)
    tau = pm.Gamma("tau", 2, 2, shape=4)
    pm.NormalMixture("y", w, pm.Normal("mu", 0, 2, shape=4), tau=tau, observed=Y)


# Counts ---------------------------------------------------------------------------------------


@stranger("zero-inflated Poisson regression, with covariates of both parts")
def zero_inflated_regression():
    a, b = pm.Normal("a", 0, 1, shape=2), pm.Normal("b", 0, 1, shape=2)
    psi = pm.math.invlogit(a[0] + a[1] * X)
    pm.ZeroInflatedPoisson("y", psi, pm.math.exp(b[0] + b[1] * X), observed=COUNTS)


@stranger("hurdle negative binomial with groups")
def hurdle_of_groups():
    mu = pm.LogNormal("mu", 0, 0.5, shape=2)
    psi = pm.Beta("psi", 2, 2)
    pm.HurdleNegativeBinomial("y", psi=psi, mu=mu[GROUP], alpha=2.0, observed=COUNTS)


@stranger("zero-inflated binomial")
def zero_inflated_binomial():
    pm.ZeroInflatedBinomial("y", pm.Beta("psi", 2, 2), n=8, p=pm.Beta("p", 2, 2), observed=COUNTS)


@stranger("counts with exposure, of two rates", z=2)
def rates_with_exposure():
    exposure = np.array([1.0, 0.5, 2.0, 1.5, 1.0])
    rate = pm.Gamma("rate", [1.0, 5.0], 1.0)
    z = pm.Bernoulli("z", pm.Beta("p", 2, 2), shape=5)
    pm.Poisson("y", rate[z] * exposure, observed=COUNTS)


@stranger("beta-binomial components")
def beta_binomial_components():
    w = pm.Dirichlet("w", np.ones(2))
    a, b = pm.Gamma("a", 2, 1, shape=2), pm.Gamma("b", 2, 1, shape=2)
    pm.Mixture("y", w, pm.BetaBinomial.dist(alpha=a, beta=b, n=9), observed=COUNTS)


@stranger("topics: multinomial components")
def multinomial_components():
    words = np.array([[3, 1, 0], [0, 4, 1], [2, 2, 2], [5, 0, 0]])
    w = pm.Dirichlet("w", np.ones(2))
    topic = pm.Dirichlet("topic", np.ones(3), shape=(2, 3))
    components = [pm.Multinomial.dist(n=words.sum(1), p=topic[k]) for k in range(2)]
    pm.Mixture("y", w, components, observed=words)


@stranger("animals at sites, of which some are seen at each visit (N-mixture)", N=13)
def abundance():
    rate, p = pm.Gamma("rate", 3, 1), pm.Beta("p", 2, 2)
    N = pm.Truncated("N", pm.Poisson.dist(rate), upper=12, shape=2)
    pm.Binomial("y", N[:, None], p, observed=np.array([[2, 1, 3], [0, 1, 0]]))


# Other supports -------------------------------------------------------------------------------


@stranger("directions: von Mises components")
def directions():
    w = pm.Dirichlet("w", np.ones(2))
    mu, kappa = pm.Uniform("mu", -3, 3, shape=2), pm.Gamma("kappa", 2, 1, shape=2)
    pm.Mixture("y", w, pm.VonMises.dist(mu=mu, kappa=kappa), observed=np.clip(Y, -3, 3))


@stranger("proportions: beta components by mean and precision")
def proportions():
    w = pm.Dirichlet("w", np.ones(2))
    mean, nu = pm.Beta("mean", [2, 5], [5, 2]), pm.Gamma("nu", 3, 0.5)
    y = np.array([0.1, 0.3, 0.25, 0.8, 0.95])
    pm.Mixture("y", w, pm.Beta.dist(mu=mean, nu=nu), observed=y)


@stranger("times until an event, of a part that is cured: censored components", atoms=True)
def cured_part():
    cured = pm.Beta("cured", 2, 2)
    alpha, beta = pm.Gamma("alpha", 4, 2), pm.Gamma("beta", 4, 2)
    components = [
        pm.Censored.dist(pm.Weibull.dist(alpha, beta), lower=None, upper=4.0),
        pm.DiracDelta.dist(4.0),
    ]
    y = np.array([0.5, 1.2, 4.0, 2.2, 4.0])
    pm.Mixture("y", pt.stack([1 - cured, cured]), components, observed=y)


@stranger("response times: contaminants beside a shifted log-normal", z=2)
def contaminants():
    mu, sigma = pm.Normal("mu", 0, 1), pm.HalfNormal("sigma", 1)
    z = pm.Bernoulli("z", pm.Beta("p", 1, 9), shape=5)
    logp = np.log(np.array([0.4, 0.7, 0.5, 3.0, 1.1]))
    pm.Normal("y", pt.switch(z, 0.0, mu), pt.switch(z, 2.0, sigma), observed=logp)


@stranger("components of a truncated normal")
def truncated_components():
    w = pm.Dirichlet("w", np.ones(2))
    mu = pm.Normal("mu", [-1, 1], 1)
    components = [pm.TruncatedNormal.dist(mu[k], 1, lower=-3, upper=3) for k in range(2)]
    pm.Mixture("y", w, components, observed=Y)


@stranger("ordered answers, of two kinds of persons", z=2)
def ordered_answers():
    cut = np.array([-1.0, 0.5])
    eta = pm.Normal("eta", [-1, 1], 1)
    z = pm.Bernoulli("z", 0.5, shape=4)
    pm.OrderedLogistic("y", eta=eta[z], cutpoints=cut, observed=np.array([0, 2, 1, 2]))


# Persons, items, raters -----------------------------------------------------------------------


@stranger("latent classes of persons, by yes-or-no items", z=2)
def latent_classes():
    answers = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    w = pm.Dirichlet("w", np.ones(2))
    p = pm.Beta("p", 2, 2, shape=(2, 3))
    z = pm.Categorical("z", w, shape=4)
    pm.Bernoulli("y", p[z], observed=answers)


@stranger("raters who confuse categories (Dawid and Skene)", truth=3)
def raters():
    item, rater = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    rating = np.array([0, 0, 1, 2, 2, 2, 1, 0, 1, 0, 0, 0])
    prevalence = pm.Dirichlet("prevalence", np.ones(3))
    confusion = pm.Dirichlet("confusion", 1 + 3 * np.eye(3), shape=(3, 3, 3))
    truth = pm.Categorical("truth", prevalence, shape=4)
    pm.Categorical("y", confusion[rater, truth[item]], observed=rating)


@stranger("two tests without a gold standard (Hui and Walter)", sick=2)
def two_tests():
    first, second = np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 0, 0, 1, 1])
    prevalence = pm.Beta("prevalence", 1, 1)
    sensitivity, specificity = pm.Beta("Se", 5, 1, shape=2), pm.Beta("Sp", 5, 1, shape=2)
    sick = pm.Bernoulli("sick", prevalence, shape=6)
    for k, result in enumerate((first, second)):
        p = pm.math.switch(sick, sensitivity[k], 1 - specificity[k])
        pm.Bernoulli(f"test_{k}", p, observed=result)


@stranger("malingering: two groups of test takers, one below the other", z=2)
def malingering():
    bona_fide = pm.Beta("bona_fide", 8, 2)
    malingerer = pm.Deterministic("malingerer", bona_fide * pm.Beta("share", 2, 2))
    z = pm.Bernoulli("z", 0.5, shape=5)
    p = pm.math.switch(z, bona_fide, malingerer)
    pm.Binomial("y", n=45, p=p, observed=np.array([45, 44, 20, 31, 43]))


@stranger("sites that are occupied, or not, and visits that find that out", z=2)
def occupancy():
    found = np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]])
    a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
    z = pm.Bernoulli("z", pm.math.invlogit(a + b * X[:4]), shape=4)
    pm.Bernoulli("y", z[:, None] * pm.Beta("p", 2, 2), observed=found)


@stranger("skills of persons, all of which an item needs (DINA)", skill=2)
def skills():
    Q = np.array([[1, 0], [0, 1], [1, 1]])
    answers = np.array([[1, 0, 0], [1, 1, 1], [0, 1, 0]])
    slip, guess = pm.Beta("slip", 1, 5, shape=3), pm.Beta("guess", 1, 5, shape=3)
    skill = pm.Bernoulli("skill", pm.Beta("p", 2, 2, shape=2), shape=(3, 2))
    able = pt.prod(pt.where(Q[None] > 0, skill[:, None, :], 1), axis=-1)
    pm.Bernoulli("y", able * (1 - slip) + (1 - able) * guess, observed=answers)


@stranger("curves of growth, of classes of children", z=2)
def growth_curves():
    heights = np.array([[0, 1, 2.2, 2.9, 4], [0.2, 0.4, 0.9, 1, 1.3], [0, 1.1, 1.9, 3.2, 4.1]])
    level, slope = pm.Normal("level", 0, 1, shape=2), pm.Normal("slope", [0.3, 1], 0.3)
    z = pm.Categorical("z", pm.Dirichlet("w", np.ones(2)), shape=3)
    pm.Normal("y", level[z][:, None] + slope[z][:, None] * TIMES, 0.3, observed=heights)


@stranger("nodes of a network, in blocks", z=2)
def blocks_of_a_network():
    edges = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    i, j = np.triu_indices(4, 1)
    p = pm.Beta("p", 1, 1, shape=(2, 2))
    z = pm.Bernoulli("z", 0.5, shape=4)
    pm.Bernoulli("y", p[z[i], z[j]], observed=edges[i, j])


# One indicator of everything ------------------------------------------------------------------


@stranger("a change of the slope at an unknown time", tau=5)
def change_of_slope():
    tau = pm.DiscreteUniform("tau", 0, 4)
    a, b = pm.Normal("a", 0, 1, shape=2), pm.Normal("b", 0, 1, shape=2)
    after = pm.math.ge(TIMES, tau)
    mean = pm.math.switch(after, a[1] + b[1] * TIMES, a[0] + b[0] * TIMES)
    pm.Normal("y", mean, 1, observed=Y)


@stranger("a choice between two models", which=2)
def choice_of_a_model():
    which = pm.Bernoulli("which", 0.5)
    slope = pm.Normal("slope", 0, 1)
    pm.Normal("y", pm.math.switch(which, slope * X, 0.0), 1, observed=Y)


@stranger("variables that are in or out of a regression (spike and slab)", inside=2)
def spike_and_slab():
    design = np.column_stack([X, X**2, np.sin(X)])
    inside = pm.Bernoulli("inside", 0.5, shape=3)
    b = pm.Normal("b", 0, 1, shape=3)
    pm.Normal("y", pt.dot(design, inside * b), pm.HalfNormal("sigma", 1), observed=Y)


# Chains ---------------------------------------------------------------------------------------


@stranger("the dishonest casino: a chain that is seen by categories", z=2)
def dishonest_casino():
    P = pm.Dirichlet("P", np.array([[8.0, 1.0], [1.0, 8.0]]))
    loaded = pm.Dirichlet("loaded", np.array([1.0, 1, 1, 1, 1, 5]))
    dice = pt.stack([pt.ones(6) / 6, loaded])
    z = pmx.DiscreteMarkovChain("z", P=P, init_dist=pm.Categorical.dist([0.5, 0.5]), shape=5)
    pm.Categorical("y", dice[z], observed=np.array([5, 5, 0, 3, 5]))


@stranger("knowledge that once learned is not lost (Bayesian knowledge tracing)", known=2)
def knowledge_tracing():
    learn, slip, guess = (pm.Beta(name, 2, 8) for name in ("learn", "slip", "guess"))
    P = pt.stack([pt.stack([1 - learn, learn]), pt.constant([0.0, 1.0])])
    known = pmx.DiscreteMarkovChain(
        "known", P=P, init_dist=pm.Categorical.dist([0.8, 0.2]), shape=(2, 4)
    )
    right = np.array([[0, 1, 1, 1], [0, 0, 0, 1]])
    pm.Bernoulli("y", pt.switch(known, 1 - slip, guess), observed=right)


@stranger("marked animals that are alive, and seen, or not (Cormack, Jolly, Seber)", alive=2)
def capture_and_recapture():
    survival, seen = pm.Beta("survival", 2, 2), pm.Beta("seen", 2, 2)
    P = pt.stack([pt.constant([1.0, 0.0]), pt.stack([1 - survival, survival])])
    alive = pmx.DiscreteMarkovChain(
        "alive", P=P, init_dist=pm.Categorical.dist([0.0, 1.0]), shape=(3, 4)
    )
    history = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 0]])
    p = pt.concatenate([pt.ones((3, 1)), seen * alive[:, 1:]], axis=1)
    pm.Bernoulli("y", p, observed=history)


@stranger("an autoregression that switches between regimes", z=2)
def switching_autoregression():
    P = pm.Dirichlet("P", np.ones((2, 2)))
    phi, sigma = pm.Normal("phi", 0, 0.5, shape=2), pm.HalfNormal("sigma", 1, shape=2)
    before = np.concatenate([[0.0], Y[:-1]])
    z = pmx.DiscreteMarkovChain("z", P=P, init_dist=pm.Categorical.dist([0.5, 0.5]), shape=5)
    pm.Normal("y", phi[z] * before, sigma[z], observed=Y)


@stranger("steps and turns of an animal, by what it does", z=2)
def steps_and_turns():
    P = pm.Dirichlet("P", np.ones((2, 2)))
    mean, kappa = pm.Gamma("mean", [2, 8], 2), pm.Gamma("kappa", 2, 1, shape=2)
    z = pmx.DiscreteMarkovChain("z", P=P, init_dist=pm.Categorical.dist([0.5, 0.5]), shape=5)
    pm.Gamma("step", mu=mean[z], sigma=mean[z] / 2, observed=np.array([0.5, 1, 3.0, 4, 0.2]))
    pm.VonMises("turn", mu=0, kappa=kappa[z], observed=np.array([2.0, -1, 0.1, 0.2, 3.0]))
