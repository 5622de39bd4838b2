"""A job for Ascend NPUs, tried on a host without a card: its operators, its memory, its environment."""
from edvr import graph_mode  # noqa: F401 before any graph is built
