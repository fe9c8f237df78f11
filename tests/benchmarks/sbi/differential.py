"""Two tasks that follow a differential equation: as a scan, and as a function of NumPy."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

__all__ = ["lotka_volterra", "lotka_volterra_random", "sir", "sir_random"]

_POPULATION = 1e6
_DAYS = np.arange(0, 154, 17)
_STEPS_EACH_DAY = 2
_STEPS_EACH_TENTH = 2
_TENTHS = np.arange(0, 190, 21)


def _runge_kutta(slope, state, step):
    """Take one step of order four; states are a tuple."""

    def moved(slopes, share):
        return tuple(x + share * step * s for x, s in zip(state, slopes, strict=True))

    first = slope(*state)
    second = slope(*moved(first, 0.5))
    third = slope(*moved(second, 0.5))
    fourth = slope(*moved(third, 1.0))
    total = (a + 2 * b + 2 * c + d for a, b, c, d in zip(first, second, third, fourth, strict=True))
    return tuple(x + step / 6 * s for x, s in zip(state, total, strict=True))


def _follow(make_slope, theta, start, step, num_steps):
    """Return states (T + 1,) after 0, 1, …, T steps, by a scan."""

    def take_step(*state_and_parameters):
        state, parameters = state_and_parameters[:2], state_and_parameters[2:]
        return list(_runge_kutta(make_slope(*parameters), state, step))

    states = pytensor.scan(
        take_step,
        outputs_info=list(start),
        non_sequences=list(theta),
        n_steps=num_steps,
        return_updates=False,
    )
    return [pt.concatenate([first[None], x]) for first, x in zip(start, states, strict=True)]


def _constants(*values):
    return tuple(pt.constant(float(x), dtype="float64") for x in values)


def _sir_slope(beta, gamma):
    """Return how fast susceptible and infected change."""

    def slope(susceptible, infected):
        new = beta * susceptible * infected / _POPULATION
        return -new, new - gamma * infected

    return slope


def _sir_prior():
    return pm.LogNormal("theta", np.log([0.4, 0.125]), [0.5, 0.2])


def sir(y):
    """Counts of infected among a thousand who are tested, at ten times of an epidemic."""
    with pm.Model() as model:
        theta = _sir_prior()
        start = _constants(_POPULATION - 1, 1)
        num_steps = _STEPS_EACH_DAY * int(_DAYS[-1])
        parameters = theta[0], theta[1]
        _, infected = _follow(_sir_slope, parameters, start, 1 / _STEPS_EACH_DAY, num_steps)
        share = pt.clip(infected[_DAYS * _STEPS_EACH_DAY] / _POPULATION, 0, 1)
        pm.Binomial("y", 1_000, share, observed=y.astype(int))
    return model


def draw_epidemics(theta, days, rng=None, size=None):
    """Draw counts (*batch, 10) of parameters (*batch, 2), at days (10,)."""
    slope = _sir_slope(theta[..., 0], theta[..., 1])
    state = np.full(theta.shape[:-1], _POPULATION - 1.0), np.ones(theta.shape[:-1])
    shares = []
    for step in range(int(_DAYS[-1]) * _STEPS_EACH_DAY + 1):
        if step % (17 * _STEPS_EACH_DAY) == 0:
            shares.append(np.clip(state[1] / _POPULATION, 0, 1))
        state = _runge_kutta(slope, state, 1 / _STEPS_EACH_DAY)
    return rng.binomial(1_000, np.stack(shares, axis=-1))


def sir_random(y):
    """The same by a function that draws, whose density is not known."""
    with pm.Model() as model:
        options = {"random": draw_epidemics, "signature": "(d),(p)->(p)", "dtype": "int64"}
        pm.CustomDist("y", _sir_prior(), _DAYS, **options, observed=y.astype(int))
    return model


def _predation_slope(alpha, beta, gamma, delta):
    """Return how fast the logarithms of prey and of predators change."""

    def slope(log_prey, log_predators):
        return alpha - beta * np.exp(log_predators), delta * np.exp(log_prey) - gamma

    return slope


def _predation_prior():
    return pm.LogNormal("theta", [-0.125, -3.0, -0.125, -3.0], 0.5, shape=4)


def lotka_volterra(y):
    """Prey, and then predators, at ten times."""
    with pm.Model() as model:
        theta = _predation_prior()
        parameters = [theta[i] for i in range(4)]
        start = _constants(np.log(30), 0)
        num_steps = int(_TENTHS[-1]) * _STEPS_EACH_TENTH
        states = _follow(_predation_slope, parameters, start, 0.1 / _STEPS_EACH_TENTH, num_steps)
        log_sizes = pt.concatenate([x[_TENTHS * _STEPS_EACH_TENTH] for x in states])
        pm.LogNormal("y", _clip(log_sizes, pt.clip), 0.1, observed=y)
    return model


def _clip(log_sizes, clip):
    return clip(log_sizes, np.log(1e-10), np.log(1e4))


def draw_populations(theta, times, rng=None, size=None):
    """Draw sizes (*batch, 20) of parameters (*batch, 4), at times (20,)."""
    slope = _predation_slope(*np.moveaxis(theta, -1, 0))
    state = np.full(theta.shape[:-1], np.log(30.0)), np.zeros(theta.shape[:-1])
    kept = []
    for step in range(int(_TENTHS[-1]) * _STEPS_EACH_TENTH + 1):
        if step % (21 * _STEPS_EACH_TENTH) == 0:
            kept.append(state)
        state = _runge_kutta(slope, state, 0.1 / _STEPS_EACH_TENTH)
    prey, predators = (np.stack(x, axis=-1) for x in zip(*kept, strict=True))
    log_sizes = _clip(np.concatenate([prey, predators], axis=-1), np.clip)
    return rng.lognormal(log_sizes, 0.1)


def lotka_volterra_random(y):
    """The same by a function that draws, whose density is not known."""
    with pm.Model() as model:
        options = {"random": draw_populations, "signature": "(d),(p)->(p)"}
        pm.CustomDist("y", _predation_prior(), np.tile(0.1 * _TENTHS, 2), **options, observed=y)
    return model
