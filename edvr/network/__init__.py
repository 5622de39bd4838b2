"""The network: one stage per file, wired in `network`."""
import edvr.graph_mode  # noqa: F401 before any graph is built
