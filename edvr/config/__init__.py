"""Configurations, one file a topic."""
from edvr.config.base import Config, ConfigError, option
from edvr.config.model import ModelConfig

__all__ = ['Config', 'ConfigError', 'ModelConfig', 'option']
