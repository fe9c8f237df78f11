"""Bayesian mixtures and hidden Markov models in PyMC, answered at once.

Importing this package teaches ``pm.sample`` the keyword ``method``, and changes nothing else.
"""

from pymc_amortized import cache, diagnostics, errors
from pymc_amortized.diagnostics.calibration_report import CalibrationReport
from pymc_amortized.fitting.fit import fit
from pymc_amortized.fitting.loading import load
from pymc_amortized.graph.interpreter import batch_rule
from pymc_amortized.graph.samplers import sampler
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.labels.add_indicators import add_indicators
from pymc_amortized.labels.detect import LabelSwitching, detect_label_switching
from pymc_amortized.labels.relabel import relabel
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.networks.build import Networks
from pymc_amortized.networks.contracts import (
    AbstractClassificationNetwork,
    AbstractFlow,
    AbstractLatentNetwork,
    AbstractPosteriorNetwork,
    AbstractSummaryNetwork,
)
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.networks.posterior.autoencoders import (
    ConditionalPriorVAE,
    UninformativePriorVAE,
)
from pymc_amortized.networks.posterior.mixture_density import MixtureDensity
from pymc_amortized.networks.posterior.spline_flow import SplineFlow
from pymc_amortized.networks.summary.deep_set import DeepSet
from pymc_amortized.networks.summary.order_statistics import OrderStatisticsNetwork
from pymc_amortized.networks.summary.sequences import ConvolutionalNetwork, RecurrentNetwork
from pymc_amortized.networks.summary.set_transformer import SetTransformer
from pymc_amortized.networks.summary.soft_clusters import SoftClusterNetwork
from pymc_amortized.networks.summary.soft_states import SoftStateNetwork
from pymc_amortized.networks.summary.vector_network import IdentityNetwork, VectorNetwork
from pymc_amortized.networks.units import Units, UnitShape
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.results.many import answers_table
from pymc_amortized.sampling.amortized_sampler import AmortizedSampler, sample, teach_pymc
from pymc_amortized.sampling.component_numbers import NumberOfComponents, number_of_components
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.simulation.simulated_data import Simulation
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.state_filter import StateFilter
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.version import __version__

__all__ = [
    "AbstractClassificationNetwork",
    "AbstractFlow",
    "AbstractLatentNetwork",
    "AbstractPosteriorNetwork",
    "AbstractSummaryNetwork",
    "AcceptanceRule",
    "AmortizedPosterior",
    "AmortizedSampler",
    "CalibrationReport",
    "ConditionalPriorVAE",
    "ConvolutionalNetwork",
    "DeepSet",
    "IdentityNetwork",
    "LabelSwitching",
    "LikelihoodNetwork",
    "MixtureDensity",
    "ModelSpec",
    "Networks",
    "NumberOfComponents",
    "OrderStatisticsNetwork",
    "ParameterSpace",
    "RecurrentNetwork",
    "SetTransformer",
    "Simulation",
    "Simulator",
    "SoftClusterNetwork",
    "SoftStateNetwork",
    "SplineFlow",
    "StateFilter",
    "TrainingConfig",
    "TrainingRecord",
    "UninformativePriorVAE",
    "UnitShape",
    "Units",
    "VectorNetwork",
    "add_indicators",
    "answers_table",
    "batch_rule",
    "cache",
    "compile_simulator",
    "detect_label_switching",
    "diagnostics",
    "errors",
    "fit",
    "load",
    "number_of_components",
    "relabel",
    "sample",
    "sampler",
]

teach_pymc()
