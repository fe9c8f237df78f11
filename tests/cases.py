"""The models that must be read unchanged, each with its complete-data model written by hand.

``hand`` builds the same joint distribution of (θ, z, y) from ``.dist`` variables alone; it knows
nothing of this package. ``accept`` keeps those of its draws that the model's constraints allow.
"""

import warnings

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor
import pytensor.tensor as pt

from pymc.distributions.transforms import Interval, ordered
from pymc.pytensorf import collect_default_updates
from pymc_extras import marginalize

from pymc_amortized.compat import supports_time_varying_chains

N, T = 5, 5
X = np.array([-1.5, -0.5, 0.0, 0.8, 2.0])
Y = np.array([-2.0, -1.0, 0.5, 1.5, 4.0])
COUNTS = np.array([0, 1, 3, 0, 7])
POINTS = np.array([[-2.0, -1.0], [0.0, 0.5], [2.0, 2.5], [-1.0, 0.0], [1.0, 3.0]])


@dataclass(frozen=True)
class Case:
    name: str
    model: Callable[[], pm.Model]
    hand: Callable[[], dict]
    accept: Callable[[dict], np.ndarray] | None = None
    marginal: str = "self"
    """Where the reference density comes from: "self", "marginalize" or "enumerate"."""
    has_density: bool = True
    structure: str = "set"
    unmasked: dict = field(default_factory=dict)


CASES: list[Case] = []


def case(**options):
    def register(pair):
        model, hand = pair()
        CASES.append(Case(name=pair.__name__, model=model, hand=hand, **options))
        return pair

    return register


def _mixture_parameters(initval=None):
    w = pm.Dirichlet("w", np.full(2, 2.0))
    mu = pm.Normal("mu", 0, 3, shape=2, transform=ordered, initval=initval)
    sigma = pm.HalfNormal("sigma", 1, shape=2)
    return w, mu, sigma


def _hand_mixture(sort=True):
    w = pm.Dirichlet.dist(np.full(2, 2.0))
    mu = pm.Normal.dist(0, 3, shape=2)
    mu = pt.sort(mu) if sort else mu
    sigma = pm.HalfNormal.dist(1, shape=2)
    z = pm.Categorical.dist(w, shape=N)
    return w, mu, sigma, z


@case()
def normal_mixture_ordered():
    def model():
        with pm.Model() as m:
            w, mu, sigma = _mixture_parameters()
            pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=Y)
        return m

    def hand():
        w, mu, sigma, z = _hand_mixture()
        y = pm.Normal.dist(mu[z], sigma[z])
        return {"w": w, "mu": mu, "sigma": sigma, "y_component": z, "y": y}

    return model, hand


@case()
def normal_mixture_with_initval():
    def model():
        with pm.Model(coords={"component": range(2), "eruption": range(N)}) as m:
            w, mu, sigma = _mixture_parameters(initval=[-1.0, 1.0])
            pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=Y, dims="eruption")
        return m

    return model, normal_mixture_ordered()[1]


@case()
def sorted_raw_means():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            raw = pm.Normal("mu_raw", 0, 3, shape=2)
            mu = pm.Deterministic("mu", pt.sort(raw))
            pm.NormalMixture("y", w=w, mu=mu, sigma=1.0, observed=Y)
        return m

    def hand():
        w, raw, _, z = _hand_mixture(sort=False)
        y = pm.Normal.dist(pt.sort(raw)[z], 1.0)
        return {"w": w, "mu_raw": raw, "y_component": z, "y": y}

    return model, hand


@case()
def components_of_their_own():
    def model():
        with pm.Model() as m:
            w = pm.Beta("w", 2, 2)
            mu_0, mu_1 = pm.Normal("mu_0", 0, 3), pm.Normal("mu_1", 0, 3)
            s_0, s_1 = pm.HalfNormal("s_0", 1), pm.HalfNormal("s_1", 1)
            components = [pm.Normal.dist(mu_0, s_0), pm.Normal.dist(mu_1, s_1)]
            pm.Mixture("y", pt.stack([1 - w, w]), components, observed=Y)
        return m

    def hand():
        w = pm.Beta.dist(2, 2)
        mu_0, mu_1 = pm.Normal.dist(0, 3), pm.Normal.dist(0, 3)
        s_0, s_1 = pm.HalfNormal.dist(1), pm.HalfNormal.dist(1)
        z = pm.Bernoulli.dist(w, shape=N)
        y = pm.Normal.dist(pt.stack([mu_0, mu_1])[z], pt.stack([s_0, s_1])[z])
        first = {"w": w, "mu_0": mu_0, "mu_1": mu_1, "s_0": s_0, "s_1": s_1}
        return {**first, "y_component": z, "y": y}

    return model, hand


@case()
def unlike_components():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", 0, 3)
            scale = pm.HalfNormal("scale", 2)
            components = [pm.Normal.dist(mu, 1), pm.StudentT.dist(4, mu=0, sigma=scale)]
            pm.Mixture("y", w=w, comp_dists=components, observed=Y)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        mu, scale = pm.Normal.dist(0, 3), pm.HalfNormal.dist(2)
        z = pm.Categorical.dist(w, shape=N)
        first = pm.Normal.dist(mu, 1, shape=N)
        second = pm.StudentT.dist(4, mu=0, sigma=scale, shape=N)
        y = pt.switch(pt.eq(z, 0), first, second)
        return {"w": w, "mu": mu, "scale": scale, "y_component": z, "y": y}

    return model, hand


@case()
def batched_component():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(3, 2.0))
            mu = pm.Normal("mu", [-2, 0, 2], 1)
            component = pm.Normal.dist(mu, 0.5, shape=(N, 3))
            pm.Mixture("y", w=w, comp_dists=component, observed=Y)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(3, 2.0))
        mu = pm.Normal.dist([-2, 0, 2], 1)
        z = pm.Categorical.dist(w, shape=N)
        return {"w": w, "mu": mu, "y_component": z, "y": pm.Normal.dist(mu[z], 0.5)}

    return model, hand


def _regressions(as_data):
    def model():
        with pm.Model() as m:
            x = pm.Data("x", X) if as_data else X
            w = pm.Dirichlet("w", np.full(2, 2.0))
            a = pm.Normal("a", 0, 1, shape=2)
            b = pm.Normal("b", 0, 1, shape=2)
            pm.NormalMixture("y", w=w, mu=a + b * x[:, None], sigma=0.5, observed=Y)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        a, b = pm.Normal.dist(0, 1, shape=2), pm.Normal.dist(0, 1, shape=2)
        z = pm.Categorical.dist(w, shape=N)
        y = pm.Normal.dist(a[z] + b[z] * X, 0.5)
        return {"w": w, "a": a, "b": b, "y_component": z, "y": y}

    return model, hand


@case()
def regressions_on_an_array():
    return _regressions(as_data=False)


@case()
def regressions_on_data():
    return _regressions(as_data=True)


@case()
def multivariate_components():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", 0, 2, shape=(2, 2))
            components = [
                pm.MvNormal.dist(mu[0], np.eye(2)),
                pm.MvNormal.dist(mu[1], np.array([[1.0, 0.8], [0.8, 1.0]])),
            ]
            pm.Mixture("y", w=w, comp_dists=components, observed=POINTS)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        mu = pm.Normal.dist(0, 2, shape=(2, 2))
        z = pm.Categorical.dist(w, shape=N)
        factors = np.array([np.eye(2), [[1.0, 0.0], [0.8, 0.6]]])
        noise = pm.Normal.dist(0, 1, shape=(N, 2, 1))
        y = mu[z] + pt.matmul(pt.as_tensor(factors)[z], noise)[..., 0]
        return {"w": w, "mu": mu, "y_component": z, "y": y}

    return model, hand


@case()
def multivariate_with_cholesky_prior():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", 0, 2, shape=(2, 2))
            chol, _, _ = pm.LKJCholeskyCov(
                "chol", n=2, eta=2.0, sd_dist=pm.HalfNormal.dist(1.0, shape=2), compute_corr=True
            )
            components = [pm.MvNormal.dist(mu[k], chol=chol) for k in range(2)]
            pm.Mixture("y", w=w, comp_dists=components, observed=POINTS)
        return m

    def hand():
        # For two dimensions, LKJ(eta) is a Beta(eta, eta) correlation, stretched to (-1, 1).
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        mu = pm.Normal.dist(0, 2, shape=(2, 2))
        sd = pm.HalfNormal.dist(1.0, shape=2)
        rho = 2 * pm.Beta.dist(2.0, 2.0) - 1
        packed = pt.stack([sd[0], sd[1] * rho, sd[1] * pt.sqrt(1 - rho**2)])
        z = pm.Categorical.dist(w, shape=N)
        noise = pm.Normal.dist(0, 1, shape=(N, 2))
        first = packed[0] * noise[:, 0]
        second = packed[1] * noise[:, 0] + packed[2] * noise[:, 1]
        y = mu[z] + pt.stack([first, second], axis=1)
        return {"w": w, "mu": mu, "chol": packed, "y_component": z, "y": y}

    return model, hand


@case()
def poisson_mixture():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            rate = pm.Gamma("rate", 2, 0.5, shape=2)
            pm.Mixture("y", w=w, comp_dists=pm.Poisson.dist(rate, shape=(N, 2)), observed=COUNTS)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        rate = pm.Gamma.dist(2, 0.5, shape=2)
        z = pm.Categorical.dist(w, shape=N)
        return {"w": w, "rate": rate, "y_component": z, "y": pm.Poisson.dist(rate[z])}

    return model, hand


@case()
def negative_binomial_mixture():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Gamma("mu", 2, 0.5, shape=2)
            alpha = pm.Exponential("alpha", 1)
            components = [pm.NegativeBinomial.dist(mu=mu[k], alpha=alpha + 0.5) for k in range(2)]
            pm.Mixture("y", w=w, comp_dists=components, observed=COUNTS)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        mu, alpha = pm.Gamma.dist(2, 0.5, shape=2), pm.Exponential.dist(1)
        z = pm.Categorical.dist(w, shape=N)
        rate = pm.Gamma.dist(alpha + 0.5, (alpha + 0.5) / mu[z])
        y = pm.Poisson.dist(rate)
        return {"w": w, "mu": mu, "alpha": alpha, "y_component": z, "y": y}

    return model, hand


@case()
def zero_inflated_poisson():
    def model():
        with pm.Model() as m:
            psi = pm.Beta("psi", 2, 2)
            mu = pm.Gamma("mu", 2, 0.5)
            pm.ZeroInflatedPoisson("y", psi=psi, mu=mu, observed=COUNTS)
        return m

    def hand():
        psi, mu = pm.Beta.dist(2, 2), pm.Gamma.dist(2, 0.5)
        z = pm.Bernoulli.dist(psi, shape=N)
        y = z * pm.Poisson.dist(mu, shape=N)
        return {"psi": psi, "mu": mu, "y_component": z, "y": y}

    return model, hand


@case()
def hurdle_gamma():
    def model():
        with pm.Model() as m:
            psi = pm.Beta("psi", 2, 2)
            alpha = pm.Gamma("alpha", 4, 2)
            data = np.array([0.0, 1.0, 3.0, 0.0, 0.4])
            pm.HurdleGamma("y", psi=psi, alpha=alpha, beta=1.0, observed=data)
        return m

    def hand():
        psi, alpha = pm.Beta.dist(2, 2), pm.Gamma.dist(4, 2)
        z = pm.Bernoulli.dist(psi, shape=N)
        y = z * pm.Gamma.dist(alpha, 1.0, shape=N)
        return {"psi": psi, "alpha": alpha, "y_component": z, "y": y}

    return model, hand


@case()
def mixture_of_experts():
    def model():
        with pm.Model() as m:
            slope = pm.Normal("slope", 0, 2)
            mu = pm.Normal("mu", 0, 3, shape=2, transform=ordered)
            p = pm.math.sigmoid(slope * X)
            w = pt.stack([1 - p, p], axis=-1)
            pm.NormalMixture("y", w=w, mu=mu, sigma=1.0, observed=Y)
        return m

    def hand():
        slope = pm.Normal.dist(0, 2)
        mu = pt.sort(pm.Normal.dist(0, 3, shape=2))
        z = pm.Bernoulli.dist(pm.math.sigmoid(slope * X))
        return {"slope": slope, "mu": mu, "y_component": z, "y": pm.Normal.dist(mu[z], 1.0)}

    return model, hand


@case(marginal="marginalize")
def explicit_categorical():
    def model():
        with pm.Model(coords={"unit": range(N)}) as m:
            w, mu, sigma = _mixture_parameters()
            z = pm.Categorical("z", p=w, dims="unit")
            pm.Normal("y", mu[z], sigma[z], observed=Y, dims="unit")
        return m

    def hand():
        w, mu, sigma, z = _hand_mixture()
        return {"w": w, "mu": mu, "sigma": sigma, "z": z, "y": pm.Normal.dist(mu[z], sigma[z])}

    return model, hand


@case(marginal="marginalize")
def explicit_bernoulli_with_switch():
    def model():
        with pm.Model() as m:
            p = pm.Beta("p", 2, 2)
            low, gap = pm.Normal("low", 0, 1), pm.HalfNormal("gap", 2)
            z = pm.Bernoulli("z", p, shape=N)
            pm.Normal("y", pt.switch(z, low + gap, low), 1, observed=Y)
        return m

    def hand():
        p, low, gap = pm.Beta.dist(2, 2), pm.Normal.dist(0, 1), pm.HalfNormal.dist(2)
        z = pm.Bernoulli.dist(p, shape=N)
        return {"p": p, "low": low, "gap": gap, "z": z, "y": pm.Normal.dist(low + gap * z, 1)}

    return model, hand


@case()
def marginalized_by_pymc_extras():
    def model():
        return marginalize(explicit_categorical()[0](), ["z"])

    return model, explicit_categorical()[1]


def _hand_chain(P, first, steps):
    states = [pm.Categorical.dist(first)]
    for step in range(steps):
        matrix = P if P.ndim == 2 else P[step]
        states.append(pm.Categorical.dist(matrix[states[-1]]))
    return pt.stack(states)


@case(marginal="marginalize", structure="sequence")
def gaussian_hidden_markov_model():
    def model():
        with pm.Model(coords={"time": range(T)}) as m:
            P = pm.Dirichlet("P", np.array([[4.0, 1.0], [1.0, 3.0]]))
            mu = pm.Normal("mu", [-1, 1], 1, transform=ordered)
            first = pm.Categorical.dist([0.3, 0.7])
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, dims="time")
            pm.Normal("y", mu[z], 1, observed=Y, dims="time")
        return m

    def hand():
        P = pm.Dirichlet.dist(np.array([[4.0, 1.0], [1.0, 3.0]]))
        mu = pm.Normal.dist([-1, 1], 1)
        z = _hand_chain(P, [0.3, 0.7], T - 1)
        return {"P": P, "mu": mu, "z": z, "y": pm.Normal.dist(mu[z], 1)}

    return model, hand


CASES[-1] = Case(
    **{**CASES[-1].__dict__, "accept": lambda draws: draws["mu"][:, 0] < draws["mu"][:, 1]}
)


@case(marginal="marginalize", structure="sequence")
def poisson_hidden_markov_model():
    def model():
        with pm.Model() as m:
            P = pm.Dirichlet("P", np.ones((3, 3)))
            log_rate = pm.Normal("log_rate", 0, 1, shape=3, transform=ordered)
            first = pm.Categorical.dist(np.full(3, 1 / 3))
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(T,))
            pm.Poisson("y", pt.exp(log_rate[z]), observed=COUNTS)
        return m

    def hand():
        P = pm.Dirichlet.dist(np.ones((3, 3)))
        log_rate = pt.sort(pm.Normal.dist(0, 1, shape=3))
        z = _hand_chain(P, np.full(3, 1 / 3), T - 1)
        y = pm.Poisson.dist(pt.exp(log_rate[z]))
        return {"P": P, "log_rate": log_rate, "z": z, "y": y}

    return model, hand


@case(marginal="enumerate", structure="sequence")
def chain_of_order_two():
    def model():
        with pm.Model() as m:
            P = pm.Dirichlet("P", np.array([[[4.0, 1], [1, 2]], [[2, 1], [1, 5]]]))
            mu = pm.Normal("mu", [-1, 1], 1)
            first = pm.Categorical.dist([0.4, 0.6])
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, n_lags=2, shape=(T,))
            pm.Normal("y", mu[z], 1, observed=Y)
        return m

    def hand():
        P = pm.Dirichlet.dist(np.array([[[4.0, 1], [1, 2]], [[2, 1], [1, 5]]]))
        mu = pm.Normal.dist([-1, 1], 1)
        states = [pm.Categorical.dist([0.4, 0.6]) for _ in range(2)]
        for _ in range(T - 2):
            states.append(pm.Categorical.dist(P[states[-2], states[-1]]))
        z = pt.stack(states)
        return {"P": P, "mu": mu, "z": z, "y": pm.Normal.dist(mu[z], 1)}

    return model, hand


STAY = np.array([0.9, 0.6, 0.3, 0.1])


def _varying(stay_more):
    stay = pm.math.sigmoid(stay_more + np.log(STAY / (1 - STAY)))
    return pt.stack([pt.stack([stay, 1 - stay], -1), pt.stack([1 - stay, stay], -1)], -2)


def _hand_varying():
    shift, mu = pm.Normal.dist(0, 0.5), pm.Normal.dist([-1, 1], 1)
    z = _hand_chain(_varying(shift), [0.3, 0.7], T - 1)
    return {"shift": shift, "mu": mu, "z": z, "y": pm.Normal.dist(mu[z], 1)}


@case(marginal="enumerate", structure="sequence")
def time_varying_transition_in_a_scan():
    def chain(first, P, size):
        start = pm.Categorical.dist(first)

        def step(matrix, state):
            following = pm.Categorical.dist(matrix[state])
            return following, collect_default_updates([following])

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rest, _ = pytensor.scan(step, sequences=[P], outputs_info=[start])
        return pt.concatenate([start[None], rest])

    def logp(value, first, P):
        steps = P[pt.arange(T - 1), value[:-1], value[1:]]
        return pt.log(first[value[0]]) + pt.log(steps).sum()

    def model():
        with pm.Model() as m:
            shift = pm.Normal("shift", 0, 0.5)
            mu = pm.Normal("mu", [-1, 1], 1)
            z = pm.CustomDist(
                "z",
                np.array([0.3, 0.7]),
                _varying(shift),
                dist=chain,
                logp=logp,
                signature="(k),(s,k,k)->(t)",
                dtype="int64",
            )
            pm.Normal("y", mu[z], 1, observed=Y)
        return m

    return model, _hand_varying


if supports_time_varying_chains():

    @case(marginal="enumerate", structure="sequence")
    def time_varying_transition():
        def model():
            with pm.Model() as m:
                shift = pm.Normal("shift", 0, 0.5)
                mu = pm.Normal("mu", [-1, 1], 1)
                z = pmx.DiscreteMarkovChain(
                    "z",
                    P=_varying(shift),
                    init_dist=pm.Categorical.dist([0.3, 0.7]),
                    time_varying_P=True,
                    shape=(T,),
                )
                pm.Normal("y", mu[z], 1, observed=Y)
            return m

        return model, _hand_varying


@case(marginal="enumerate", structure="sequence")
def chains_in_parallel():
    data = np.array([[-2.0, -1.0, 0.5, 1.5], [1.0, 0.0, -1.0, 3.0]])

    def model():
        with pm.Model() as m:
            stay = pm.Beta("stay", 4, 2)
            P = pt.stack([pt.stack([stay, 1 - stay]), pt.stack([1 - stay, stay])])
            mu = pm.Normal("mu", [-1, 1], 1)
            first = pm.Categorical.dist([0.3, 0.7])
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(2, 4))
            pm.Normal("y", mu[z], 1, observed=data)
        return m

    def hand():
        stay = pm.Beta.dist(4, 2)
        P = pt.stack([pt.stack([stay, 1 - stay]), pt.stack([1 - stay, stay])])
        mu = pm.Normal.dist([-1, 1], 1)
        z = pt.stack([_hand_chain(P, [0.3, 0.7], 3) for _ in range(2)])
        return {"stay": stay, "mu": mu, "z": z, "y": pm.Normal.dist(mu[z], 1)}

    return model, hand


@case(marginal="enumerate")
def several_observed_variables():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", [-1, 1], 1)
            rate = pm.Gamma("rate", 2, 0.5, shape=2)
            z = pm.Categorical("z", w, shape=N)
            pm.Normal("y", mu[z][:, None], 1, observed=POINTS)
            pm.Poisson("count", rate[z], observed=COUNTS)
        return m

    def hand():
        w = pm.Dirichlet.dist(np.full(2, 2.0))
        mu, rate = pm.Normal.dist([-1, 1], 1), pm.Gamma.dist(2, 0.5, shape=2)
        z = pm.Categorical.dist(w, shape=N)
        y = pm.Normal.dist(mu[z][:, None], 1, shape=(N, 2))
        return {"w": w, "mu": mu, "rate": rate, "z": z, "y": y, "count": pm.Poisson.dist(rate[z])}

    return model, hand


@case(marginal="enumerate")
def groups_of_observations():
    group = np.array([0, 2, 1, 1, 0])

    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", [-1, 1], 1)
            z = pm.Categorical("z", w, shape=3)
            pm.Normal("y", mu[z[group]], 1, observed=Y)
        return m

    def hand():
        w, mu = pm.Dirichlet.dist(np.full(2, 2.0)), pm.Normal.dist([-1, 1], 1)
        z = pm.Categorical.dist(w, shape=3)
        return {"w": w, "mu": mu, "z": z, "y": pm.Normal.dist(mu[z][group], 1)}

    return model, hand


@case()
def custom_component_from_dist():
    two = pt.constant(2.0, dtype="float64")  # of which PyMC's density has the precision

    def logistic_normal(mu, sigma, size):
        return pm.math.sigmoid(pm.Normal.dist(mu, sigma, size=size))

    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", 0, 1)
            components = [
                pm.CustomDist.dist(mu, 1.0, dist=logistic_normal),
                pm.Beta.dist(two, two),
            ]
            data = np.array([0.1, 0.5, 0.7, 0.9, 0.3])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pm.Mixture("y", w=w, comp_dists=components, observed=data)
        return m

    def hand():
        w, mu = pm.Dirichlet.dist(np.full(2, 2.0)), pm.Normal.dist(0, 1)
        z = pm.Categorical.dist(w, shape=N)
        first = pm.math.sigmoid(pm.Normal.dist(mu, 1.0, shape=N))
        y = pt.switch(pt.eq(z, 0), first, pm.Beta.dist(2.0, 2.0, shape=N))
        return {"w": w, "mu": mu, "y_component": z, "y": y}

    return model, hand


@case(has_density=False)
def custom_component_from_random():
    def g_and_k(mu, sigma, rng=None, size=None):
        standard = rng.normal(size=size)
        return mu + sigma * (1 + 0.8 * np.tanh(standard)) * standard

    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", [-1, 2], 1)
            components = [pm.CustomDist.dist(mu[k], 1.0, random=g_and_k) for k in range(2)]
            pm.Mixture("y", w=w, comp_dists=components, observed=Y)
        return m

    def hand():
        w, mu = pm.Dirichlet.dist(np.full(2, 2.0)), pm.Normal.dist([-1, 2], 1)
        z = pm.Categorical.dist(w, shape=N)
        standard = pm.Normal.dist(0, 1, shape=N)
        y = mu[z] + (1 + 0.8 * pt.tanh(standard)) * standard
        return {"w": w, "mu": mu, "y_component": z, "y": y}

    return model, hand


@case(accept=lambda draws: draws["mu"][:, 0] < draws["mu"][:, 1])
def potential_as_ordering():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", 0, 3, shape=2)
            pm.Potential("order", pt.switch(mu[1] < mu[0], -np.inf, 0))
            pm.NormalMixture("y", w=w, mu=mu, sigma=1.0, observed=Y)
        return m

    def hand():
        w, mu, _, z = _hand_mixture(sort=False)
        return {"w": w, "mu": mu, "y_component": z, "y": pm.Normal.dist(mu[z], 1.0)}

    return model, hand


@case(accept=lambda draws: (draws["rho"] > 0.2) & (draws["rho"] < 0.9))
def truncated_and_interval_priors():
    def model():
        with pm.Model() as m:
            low = pm.TruncatedNormal("low", 0, 1, lower=-1, upper=0.5)
            gap = pm.Truncated("gap", pm.Normal.dist(1, 1), lower=0)
            rho = pm.Beta("rho", 2, 2, default_transform=None, transform=Interval(0.2, 0.9))
            tau = pm.Uniform("tau", 0.5, 2)
            w = pt.stack([rho, 1 - rho])
            mu = pt.stack([low, low + gap])
            pm.NormalMixture("y", w=w, mu=mu, sigma=tau, observed=Y)
        return m

    def hand():
        low = pm.TruncatedNormal.dist(0, 1, lower=-1, upper=0.5)
        gap = pm.TruncatedNormal.dist(1, 1, lower=0)
        rho, tau = pm.Beta.dist(2, 2), pm.Uniform.dist(0.5, 2)
        z = pm.Bernoulli.dist(1 - rho, shape=N)
        y = pm.Normal.dist(low + gap * z, tau)
        return {"low": low, "gap": gap, "rho": rho, "tau": tau, "y_component": z, "y": y}

    return model, hand


MASK = np.array([False, True, False, False, True])


@case(unmasked={"y": ~MASK})
def masked_mixture():
    def model():
        with pm.Model() as m:
            w, mu, sigma = _mixture_parameters()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                observed = np.ma.masked_array(Y, MASK)
                pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=observed)
        return m

    return model, normal_mixture_ordered()[1]


@case(marginal="enumerate", unmasked={"y": ~MASK})
def masked_explicit():
    def model():
        with pm.Model() as m:
            w, mu, sigma = _mixture_parameters()
            z = pm.Categorical("z", p=w, shape=N)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pm.Normal("y", mu[z], sigma[z], observed=np.where(MASK, np.nan, Y))
        return m

    return model, explicit_categorical()[1]


@case(marginal="enumerate")
def deterministics_of_indicators():
    def model():
        with pm.Model() as m:
            w = pm.Dirichlet("w", np.full(2, 2.0))
            mu = pm.Normal("mu", [-1, 1], 1)
            pm.Deterministic("gap", mu[1] - mu[0])
            z = pm.Categorical("z", w, shape=N)
            mean = pm.Deterministic("mean", mu[z])
            pm.Deterministic("share", z.mean())
            pm.Normal("y", mean, 1, observed=Y)
        return m

    def hand():
        w, mu = pm.Dirichlet.dist(np.full(2, 2.0)), pm.Normal.dist([-1, 1], 1)
        z = pm.Categorical.dist(w, shape=N)
        return {"w": w, "mu": mu, "z": z, "y": pm.Normal.dist(mu[z], 1)}

    return model, hand


@case(marginal="enumerate")
def switch_point():
    times = np.arange(N)

    def model():
        with pm.Model() as m:
            z = pm.DiscreteUniform("z", 0, N - 1)
            early, late = pm.Exponential("early", 1.0), pm.Exponential("late", 1.0)
            pm.Poisson("y", pt.switch(z >= times, early, late), observed=COUNTS)
        return m

    def hand():
        z = pm.DiscreteUniform.dist(0, N - 1)
        early, late = pm.Exponential.dist(1.0), pm.Exponential.dist(1.0)
        y = pm.Poisson.dist(pt.switch(z >= times, early, late))
        return {"early": early, "late": late, "z": z, "y": y}

    return model, hand


@case()
def censored_mixture():
    upper = 1.0

    def model():
        with pm.Model() as m:
            w, mu, sigma = _mixture_parameters()
            inner = pm.NormalMixture.dist(w=w, mu=mu, sigma=sigma, shape=N)
            pm.Censored("y", inner, lower=None, upper=upper, observed=np.minimum(Y, upper))
        return m

    def hand():
        drawn = normal_mixture_ordered()[1]()
        return {**drawn, "y": pt.minimum(drawn["y"], upper)}

    return model, hand


BY_NAME = {case.name: case for case in CASES}
