"""The network: one stage per file, wired in `network`."""
from edvr import graph_mode  # noqa: F401 before any graph is built
