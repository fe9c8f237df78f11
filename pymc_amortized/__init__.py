"""Bayesian mixtures and hidden Markov models in PyMC, answered at once.

Importing this package teaches ``pm.sample`` the keyword ``method``, and changes nothing else.
"""

from pymc_amortized import diagnostics
from pymc_amortized.add_indicators import add_indicators
from pymc_amortized.compile.graph import batch_rule
from pymc_amortized.compile.random import sampler
from pymc_amortized.compile.spec import ModelSpec
from pymc_amortized.diagnostics.report import CalibrationReport
from pymc_amortized.estimator import Networks
from pymc_amortized.fit import fit, load
from pymc_amortized.many import answers_table
from pymc_amortized.networks.contracts import (
    AbstractClassificationNetwork,
    AbstractFlow,
    AbstractPosteriorNetwork,
    AbstractSummaryNetwork,
    Units,
    UnitShape,
)
from pymc_amortized.networks.deep_set import DeepSet
from pymc_amortized.networks.flow import SplineFlow
from pymc_amortized.networks.order_statistics import OrderStatisticsNetwork
from pymc_amortized.networks.sequences import ConvolutionalNetwork, RecurrentNetwork
from pymc_amortized.networks.set_transformer import SetTransformer
from pymc_amortized.networks.soft_clusters import SoftClusterNetwork
from pymc_amortized.networks.soft_states import SoftStateNetwork
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.relabel import relabel
from pymc_amortized.sampling import AmortizedSampler, sample, teach_pymc
from pymc_amortized.simulation import Simulation
from pymc_amortized.simulator import Simulator, compile_simulator
from pymc_amortized.state_filter import StateFilter
from pymc_amortized.switching import LabelSwitching, detect_label_switching
from pymc_amortized.training_config import TrainingConfig
from pymc_amortized.training_record import TrainingRecord
from pymc_amortized.version import __version__

__all__ = [
    "AbstractClassificationNetwork",
    "AbstractFlow",
    "AbstractPosteriorNetwork",
    "AbstractSummaryNetwork",
    "AmortizedPosterior",
    "AmortizedSampler",
    "CalibrationReport",
    "ConvolutionalNetwork",
    "DeepSet",
    "LabelSwitching",
    "ModelSpec",
    "Networks",
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
    "UnitShape",
    "Units",
    "add_indicators",
    "answers_table",
    "batch_rule",
    "compile_simulator",
    "detect_label_switching",
    "diagnostics",
    "fit",
    "load",
    "relabel",
    "sample",
    "sampler",
]

teach_pymc()
