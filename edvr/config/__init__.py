"""Configurations, one file a topic."""
from data_tools.base.config import Config, ConfigError, option
from edvr.config.benchmark import BenchmarkConfig
from edvr.config.data import DataConfig
from edvr.config.model import ModelConfig
from edvr.config.ranks import RanksConfig
from edvr.config.runtime import RuntimeConfig
from edvr.config.training import TrainingConfig

__all__ = ['BenchmarkConfig', 'Config', 'ConfigError', 'DataConfig', 'ModelConfig', 'RanksConfig', 'RuntimeConfig',
           'TrainingConfig', 'option']
