"""Networks: one stage a file, each network in a file of its own, all in the table of `networks`."""
from edvr import graph_mode  # noqa: F401 before any graph is built
