"""Random mixtures and hidden Markov models, drawn by a seed, each with its truth in NumPy.

``random_model(seed)`` writes a PyMC model in one of the ways in which people write them, and the
same joint distribution a second time, by SciPy's densities and sums over every value of every
indicator (of chains: over every path). The truth knows nothing of the package.
"""

import itertools
import warnings

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

from scipy.special import expit, logsumexp
from scipy.stats import norm

from tests.random_parts import FAMILIES, INFLATED, ORDERED, PRIORS, dirichlet, softmax

__all__ = ["RandomModel", "random_model"]

MIXTURES = ("list", "batched", "unlike")
EXPLICIT = ("categorical", "switch", "marginalized")
CHAINS = ("chain", "parallel chains")
ALIKE = (
    ("normal", "student", "laplace", "normal"),
    ("gamma", "weibull", "log normal", "exponential"),
    ("poisson", "negative binomial", "zero-inflated poisson"),
    ("binomial", "zero-inflated binomial"),
)
LINKS = {
    "identity": (lambda x: x, lambda x: x),
    "exp": (pt.exp, np.exp),
    "sigmoid": (pt.sigmoid, expit),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter; below a location and a scale, where these are names, it is normal."""

    name: str
    shape: tuple[int, ...]
    prior: object = None
    parents: tuple[str, str] | None = None

    def write(self, variables, dims):
        options = {"shape": self.shape} if dims is None else {"dims": dims}
        if self.parents:
            mean, sd = (variables[name] for name in self.parents)
            return pm.Normal(self.name, mean, sd, **options)
        if self.prior is ORDERED:
            options["shape"] = self.shape
        return self.prior.write(self.name, **options)

    def draw(self, rng, num_draws, values):
        shape = (num_draws, *self.shape)
        if self.parents:
            mean, sd = (_expand(values[name], len(self.shape)) for name in self.parents)
            return mean + sd * rng.normal(size=shape)
        return self.prior.draw(rng, shape)

    def log_density(self, values):
        """Return the log density (S,) of unconstrained values."""
        x = values[self.name]
        if self.parents:
            mean, sd = (_expand(values[name], len(self.shape)) for name in self.parents)
            each = norm.logpdf(x, mean, sd)
        else:
            each = self.prior.log_density(x)
        return each.reshape(len(x), -1).sum(1)


def _expand(x, axes):
    return x.reshape(*x.shape, *(1,) * axes)


@dataclass
class RandomModel:
    """A model, what it is, and the truth about it.

    ``table`` gives log p(y of unit i given z_i = k) (S, *units, K) for values (S, *shape) by name;
    ``prior`` log p(z_i = k) alike; of chains, ``prior`` is (log first, log transition).
    """

    model: pm.Model
    seed: int
    description: str
    indicator: str
    is_chain: bool
    parameters: list[Parameter]
    table: Callable
    prior: Callable
    beside: Callable
    """Return log p (S,) of what belongs to no unit."""

    def draw(self, num_draws, rng):
        """Return draws (S, *shape) from the prior by name."""
        values = {}
        for parameter in self.parameters:
            values[parameter.name] = parameter.draw(rng, num_draws, values)
        return values

    def log_prior(self, values):
        """Return log p (S,) of unconstrained parameters in nats."""
        return sum(p.log_density(values) for p in self.parameters)

    def likelihood(self, values):
        """Return log p(y given θ) (S,) in nats, and p(z = k given y, θ) (S, *units, K)."""
        table = self.table(values)
        each, memberships = (_over_paths if self.is_chain else _over_units)(
            table, self.prior(values)
        )
        return each + self.beside(values), memberships


def _over_units(table, prior):
    joint = table + prior
    each = logsumexp(joint, axis=-1, keepdims=True)
    return each.reshape(len(joint), -1).sum(1), np.exp(joint - each)


def _over_paths(table, prior):
    """Sum over every path of every chain; the table is (S, *chains, T, K)."""
    first, transition = prior
    S, *chains, T, K = table.shape
    paths = np.array(list(itertools.product(range(K), repeat=T)))
    log_path = first[:, paths[:, 0]]
    log_path = log_path + transition[:, paths[:, :-1], paths[:, 1:]].sum(-1)
    flat = table.reshape(S, -1, T, K)
    joint = log_path[:, None] + flat[:, :, np.arange(T), paths].sum(-1)
    each = logsumexp(joint, axis=-1, keepdims=True)
    weight = np.broadcast_to(np.exp(joint - each), joint.shape)
    memberships = np.stack(
        [[weight[..., paths[:, t] == k].sum(-1) for k in range(K)] for t in range(T)]
    )
    memberships = np.moveaxis(memberships, (0, 1), (-2, -1)).reshape(len(joint), *chains, T, K)
    return each.reshape(len(joint), -1).sum(1), memberships


@dataclass
class _Term:
    """An argument of components: how it is written, and its values (S, *ones or O, K, *event)."""

    write: Callable
    value: Callable


@dataclass
class _Draft:
    """A model while it is being drawn."""

    rng: np.random.Generator
    style: str
    K: int
    layout: str
    shape: tuple[int, ...]
    """Of observations, without that of the event."""
    has_dims: bool
    alike: tuple[str, ...]
    """Families that components of a mixture of unlike ones are drawn from."""
    parameters: list[Parameter] = field(default_factory=list)
    dims: dict = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    covariates: dict = field(default_factory=dict)

    def choose(self, *options):
        return options[self.rng.integers(len(options))]

    def chance(self, probability):
        return bool(self.rng.uniform() < probability)

    def add(self, name, shape, prior=None, parents=None, dims=None):
        self.parameters.append(Parameter(name, shape, prior, parents))
        self.dims[name] = dims if self.has_dims else None
        return name


def _add_parameter(draft, name, support, K, event=0):
    """Add a parameter of components, from a prior of its support or below others."""
    shape = ((K,) if K else ()) + ((event,) if event else ())
    dims = (("component",) if K else ()) + (("feature",) if event else ())
    if support == "real" and K and draft.chance(0.25):
        mean = draft.add(f"{name}_mean", (), PRIORS["real"][0])
        sd = draft.add(f"{name}_sd", (), draft.choose(*PRIORS["positive"]))
        draft.words.append(f"{name} below {mean}")
        return draft.add(name, shape, parents=(mean, sd), dims=dims)
    may_be_ordered = K > 1 and not event and draft.style != "marginalized"
    if support == "real" and may_be_ordered and draft.chance(0.2):
        draft.words.append(f"{name} ordered")
        return draft.add(name, shape, ORDERED, dims=dims)
    return draft.add(name, shape, draft.choose(*PRIORS[support]), dims=dims)


def _draw_term(draft, argument, prefix, K, event=0):
    """Draw an argument: of each component, shared, constant, or a regression."""
    name, axes = f"{prefix}{argument.name}", len(draft.shape)
    own_axis = 1 if K else 0
    if argument.regression and not event and draft.chance(0.3):
        a = _add_parameter(draft, f"{name}_a", "real", K)
        b = draft.add(
            f"{name}_b", (K,) if K else (), PRIORS["real"][0], dims=("component",) * own_axis
        )
        in_graph, in_numpy = LINKS[argument.regression]
        x = _covariate(draft)
        draft.words.append(f"{name} on x")
        return _Term(
            lambda v, pick: in_graph(pick(v[a]) + pick(v[b]) * pick(v["x"], covariate=True)),
            lambda v: in_numpy(_spread(v[a], axes, K) + _spread(v[b], axes, K) * x[..., None]),
        )
    if argument.support != "real" and draft.chance(0.2):
        constant = 0.4 if argument.support == "share" else 1.3
        return _Term(lambda v, pick: constant, lambda v: np.full((1,) * (axes + 2), constant))
    if K and argument.support != "real" and draft.chance(0.3):
        shared = _add_parameter(draft, name, argument.support, 0)
        return _Term(lambda v, pick: v[shared], lambda v: _spread(v[shared], axes, 0))
    own = _add_parameter(draft, name, argument.support, K, event)
    return _Term(lambda v, pick: pick(v[own]), lambda v: _spread(v[own], axes, K))


def _spread(x, axes, K):
    """Bring (S, K, ...) or (S,) to (S, *ones, K, ...)."""
    return x.reshape(len(x), *(1,) * axes, *(x.shape[1:] if K else (1,)))


def _covariate(draft):
    if "x" not in draft.covariates:
        draft.covariates["x"] = draft.rng.normal(size=draft.shape).round(2)
    return draft.covariates["x"]


def _draw_weights(draft, units):
    """Return how weights are written, and their logarithms (S, *units, K) in NumPy."""
    K, axes = draft.K, len(units)
    ways = ["fixed", "dirichlet"] + ["softmax", "by group"] * (axes == 1)
    way = draft.choose(*ways) if K > 1 else "fixed"
    draft.words.append(f"weights {way}")
    if way == "fixed":
        fixed = np.arange(1.0, K + 1) / np.arange(1.0, K + 1).sum()
        return lambda v: fixed, lambda v: _spread(np.log(fixed)[None], axes, K)
    concentration = draft.rng.uniform(0.8, 3, K).round(1)
    if way == "softmax":
        x = draft.rng.normal(size=units).round(2)
        draft.covariates["u"] = x
        a = draft.add("w_a", (K,), PRIORS["real"][0], dims=("component",))
        b = draft.add("w_b", (K,), PRIORS["real"][0], dims=("component",))
        return (
            lambda v: softmax(v[a] + v[b] * v["u"][:, None]),
            lambda v: np.log(softmax(v[a][:, None] + v[b][:, None] * x[:, None])),
        )
    if way == "by group":
        draft.add("w", (2, K), dirichlet(concentration))
        place = draft.rng.integers(0, 2, units)
        return lambda v: v["w"][place], lambda v: np.log(v["w"][:, place])
    draft.add("w", (K,), dirichlet(concentration), dims=("component",))
    return lambda v: v["w"], lambda v: _spread(np.log(v["w"]), axes, K)


def _draw_share(draft, units):
    """Return the same of an indicator that is 0 or 1."""
    if len(units) == 1 and draft.chance(0.4):
        x = draft.rng.normal(size=units).round(2)
        draft.covariates["u"] = x
        draft.words.append("weights by logit")
        slope = draft.add("slope", (), PRIORS["real"][0])
        return (
            lambda v: pm.math.sigmoid(v[slope] * v["u"]),
            lambda v: _log_both(expit(v[slope][:, None] * x)),
        )
    draft.add("p", (), draft.choose(*PRIORS["share"]))
    return lambda v: v["p"], lambda v: _log_both(_expand(v["p"], len(units)))


def _log_both(p):
    return np.log(np.stack([1 - p, p], axis=-1))


def _draw_chain(draft):
    """Return how (transition, first) are written, and their logarithms."""
    K = draft.K
    first = draft.rng.dirichlet(np.full(K, 3.0))
    way = draft.choose("fixed", "dirichlet", "first too")
    draft.words.append(f"transition {way}")
    if way == "fixed":
        P = draft.rng.dirichlet(np.ones(K), size=K)
        return lambda v: (P, first), lambda v: (np.log(first)[None], np.log(P)[None])
    draft.add("P", (K, K), dirichlet(draft.rng.uniform(1, 4, K).round(1)))
    if way == "dirichlet":
        return lambda v: (v["P"], first), lambda v: (np.log(first)[None], np.log(v["P"]))
    draft.add("first", (K,), dirichlet(np.full(K, 2.0)))
    return lambda v: (v["P"], v["first"]), lambda v: (np.log(v["first"]), np.log(v["P"]))


@dataclass(frozen=True)
class _Observed:
    """An observed variable: its data, masked or not, its components and their arguments."""

    name: str
    data: np.ndarray
    families: list
    terms: list

    def table(self, values):
        """Return log p of each observation under each component (S, *shape, K), 0 where masked."""
        plain, K = np.ma.getdata(self.data), len(self.families)
        event = self.families[0].event
        y = plain if event else plain[..., None]
        columns = []
        for k, (family, terms) in enumerate(zip(self.families, self.terms, strict=True)):
            arguments = [term.value(values) for term in terms]
            each = family.log_density(y, *arguments)
            columns.append(each[..., k if each.shape[-1] == K else 0])
        table = np.stack(np.broadcast_arrays(*columns), axis=-1)
        mask = np.ma.getmaskarray(self.data)
        return table if event else np.where(mask[..., None], 0.0, table)


def _draw_observed(draft, name, family_name, may_miss):
    K, unlike = draft.K, draft.style == "unlike"
    if unlike:
        names = [draft.choose(*draft.alike) for _ in range(K)]
        families = [FAMILIES[n] for n in names]
        terms = [
            [_draw_term(draft, a, f"{name}{k}_", 0) for a in f.arguments]
            for k, f in enumerate(families)
        ]
    else:
        names = [family_name]
        families = [FAMILIES[family_name]] * K
        own = [
            _draw_term(draft, a, f"{name}_", K, families[0].event) for a in families[0].arguments
        ]
        terms = [own] * K
    draft.words.append(" + ".join(names))
    data = families[0].data(draft.rng, draft.shape)
    if may_miss and not families[0].event and draft.chance(0.25):
        mask = draft.rng.uniform(size=draft.shape) < 0.25
        draft.words.append("missing")
        data = np.ma.masked_array(data, mask) if mask.any() and not mask.all() else data
    return _Observed(name, data, families, terms)


def _write_mixture(draft, observed, v, weights, options):
    """Write a mixture without an indicator: of a list of components, or of a batched one."""
    K, family, shape = draft.K, observed.families[0], draft.shape
    if draft.style == "batched":

        def pick(value, covariate=False):
            return value[..., None] if covariate else value

        arguments = [term.write(v, pick) for term in observed.terms[0]]
        event = (family.event,) if family.event else ()
        components = family.dist(*arguments, shape=(*shape, K, *event))
    else:
        components = []
        for k, (one, terms) in enumerate(zip(observed.families, observed.terms, strict=True)):

            def pick(value, covariate=False, k=k):
                return value if covariate or draft.style == "unlike" else value[k]

            components.append(one.dist(*(term.write(v, pick) for term in terms)))
    pm.Mixture(observed.name, w=weights, comp_dists=components, observed=observed.data, **options)


def _write_indexed(draft, observed, v, z, options):
    """Write an observed variable whose parameters the indicator chooses."""
    family = observed.families[0]
    at = z[v["group"]] if draft.layout == "groups" else z
    if draft.layout == "replicates":
        at = at[..., None]

    def pick(value, covariate=False):
        if covariate:
            return value
        if draft.style == "switch":
            where = at[..., None] if family.event else at
            return pm.math.switch(where, value[1], value[0])
        return value[at]

    family.write(
        observed.name,
        *(term.write(v, pick) for term in observed.terms[0]),
        observed=observed.data,
        **options,
    )


def _write_indicator(draft, units, v, weights):
    options = {"dims": ("unit",)} if draft.has_dims and len(units) == 1 else {"shape": units}
    if draft.layout == "groups":
        options = {"shape": units}
    if draft.style == "switch":
        return pm.Bernoulli("z", weights(v), **options)
    if draft.style in CHAINS:
        P, first = weights(v)
        first = pm.Categorical.dist(first)
        return pmx.DiscreteMarkovChain("z", P=P, init_dist=first, **options)
    return pm.Categorical("z", p=weights(v), **options)


def _write(draft, units, weights, observed, group, beside):
    """Write the model in PyMC."""
    names = ("unit", "replicate")[: len(draft.shape)]
    coords = {n: range(size) for n, size in zip(names, draft.shape, strict=True)}
    coords |= {"component": [f"c{k}" for k in range(draft.K)], "feature": ["f0", "f1"]}
    with pm.Model(coords=coords if draft.has_dims else None) as model:
        v = {}
        for name, x in draft.covariates.items():
            v[name] = pm.Data(name, x) if draft.rng.uniform() < 0.5 else x
        v["group"] = pm.Data("group", group) if draft.rng.uniform() < 0.5 else group
        for parameter in draft.parameters:
            v[parameter.name] = parameter.write(v, draft.dims[parameter.name])
        if draft.style not in MIXTURES:
            z = _write_indicator(draft, units, v, weights)
        for one in observed:
            event = ("feature",) if one.families[0].event else ()
            options = {"dims": (*names, *event)} if draft.has_dims else {}
            if draft.style in MIXTURES:
                _write_mixture(draft, one, v, weights(v), options)
            else:
                _write_indexed(draft, one, v, z, options)
        if beside is not None:
            pm.Normal("beside", v["level"], 0.7, observed=beside)
    return _without_indicator(model) if draft.style == "marginalized" else model


def _without_indicator(model):
    """Sum the indicator out, where pymc-extras can."""
    try:
        return pmx.marginalize(model, ["z"])
    except (NotImplementedError, ValueError):
        return model


def _sizes(rng, style):
    """Return the number of components, how observations are laid out, units, and their shape."""
    K, N = int(rng.integers(1 if style == "batched" else 2, 6)), int(rng.integers(3, 7))
    if style in CHAINS:
        K, N = int(rng.integers(2, 4)), int(rng.integers(3, 6))
        units = (2, N) if style == "parallel chains" else (N,)
        layout = "units" if len(units) == 2 or rng.uniform() < 0.7 else "replicates"
        return K, layout, units, (*units, 2) if layout == "replicates" else units
    if style in MIXTURES:
        layout = "table" if rng.uniform() < 0.15 else "units"
        units = (N, 2) if layout == "table" else (N,)
        return K, layout, units, units
    K = 2 if style == "switch" else K
    layouts = ("units", "replicates", "groups", "one")
    layout = layouts[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])] if style != "marginalized" else "units"
    units, shape = (N,), {"replicates": (N, 2), "groups": (N + 3,)}.get(layout, (N,))
    return K, layout, () if layout == "one" else units, shape


def _by_unit(draft, units, group):
    """Return the function that adds up tables (S, *shape, K) of observations within units."""

    def add(table):
        if draft.layout == "replicates":
            return table.sum(-2)
        if draft.layout == "one":
            return table.sum(1)
        if draft.layout != "groups":
            return table
        total = np.zeros((len(table), *units, draft.K))
        np.add.at(total, (slice(None), group), table)
        return total

    return add


def random_model(seed):
    """Return the model of a seed, with its truth."""
    rng = np.random.default_rng(seed)
    style = (*MIXTURES, *EXPLICIT, *CHAINS)[rng.integers(8)]
    K, layout, units, shape = _sizes(rng, style)
    alike = ALIKE[rng.integers(len(ALIKE))]
    draft = _Draft(rng, style, K, layout, shape, bool(rng.uniform() < 0.4), alike)
    weigh = {"switch": _draw_share}.get(style, _draw_weights)
    weights, prior = _draw_chain(draft) if style in CHAINS else weigh(draft, units)
    group = np.concatenate([np.arange(shape[0] - 3), rng.integers(0, max(shape[0] - 3, 1), 3)])
    group = group if layout == "groups" else np.zeros(1, int)
    may_miss = style != "marginalized"
    left_out = set() if style in MIXTURES else INFLATED
    if style == "batched":  # PyMC gives it a static shape that weights by unit do not fit
        left_out = {"truncated normal"}
    names = sorted(set(FAMILIES) - left_out)
    observed = [_draw_observed(draft, "y", names[rng.integers(len(names))], may_miss)]
    if style in ("categorical", "switch", *CHAINS) and draft.chance(0.25):
        second = names[rng.integers(len(names))]
        observed.append(_draw_observed(draft, "v", second, may_miss))
    beside = None
    if draft.chance(0.15):
        draft.add("level", (), PRIORS["real"][0])
        beside = rng.normal(size=3).round(2)
    add = _by_unit(draft, units, group)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _write(draft, units, weights, observed, group, beside)
    words = [style, f"K={K}", layout, str(units), *draft.words, *["dims"] * draft.has_dims]
    return RandomModel(
        model=model,
        seed=seed,
        description=", ".join(words),
        indicator="y_component" if style in MIXTURES else "z",
        is_chain=style in CHAINS,
        parameters=draft.parameters,
        table=lambda values: sum(add(one.table(values)) for one in observed),
        prior=prior,
        beside=lambda values: _beside(values, beside),
    )


def _beside(values, data):
    if data is None:
        return 0.0
    return norm.logpdf(data, values["level"][:, None], 0.7).sum(1)
