"""Read a mixture model of the Old Faithful geyser, and simulate a thousand data sets from it."""

import pathlib
import time

import numpy as np
import pymc as pm

from pymc.distributions.transforms import ordered

import pymc_amortized as pma

path = pathlib.Path(__file__).parent / "data" / "faithful.csv"
waiting = np.genfromtxt(path, delimiter=",", names=True)["waiting"]

with pm.Model(coords={"component": ["short", "long"]}) as model:
    w = pm.Dirichlet("w", np.ones(2), dims="component")
    mu = pm.Normal("mu", 70, 20, dims="component", transform=ordered)
    sigma = pm.HalfNormal("sigma", 10, dims="component")
    pm.NormalMixture("waiting", w=w, mu=mu, sigma=sigma, observed=waiting)

start = time.perf_counter()
simulator = pma.compile_simulator(model)
simulation = simulator.sample(1_000, random_seed=1)
seconds = time.perf_counter() - start

print(simulator, end="\n\n")
print(simulation, end="\n\n")
print(f"The model was read and 1,000 data sets were simulated in {seconds:.2f} s.\n")

parameters = {name: value[:3] for name, value in simulation.parameters.items()}
print("Three data sets: parameters, share of long waits, mean waiting time")
for row in range(3):
    means = " and ".join(f"{value:.1f}" for value in parameters["mu"][row])
    share = simulation.indicators["waiting_component"][row].double().mean()
    average = simulation.observations["waiting"][row].mean()
    print(f"  mu {means} min: {share:.0%} long, {average:.1f} min on average")

log_likelihood = simulator.density.log_marginal(parameters, simulator.observed_data)
print("\nLog likelihood of the observed data at these parameters, in nats:")
print(" ", np.round(log_likelihood.numpy(), 1))
