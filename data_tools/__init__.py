"""Offline tools: clips on disk to TFRecord shards. They need no accelerator and import nothing from `edvr`."""
from data_tools.base import entry

entry.require_program(__file__)
