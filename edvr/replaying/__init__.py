"""The batch of a step of a training run, rebuilt and examined."""
import edvr.graph_mode  # noqa: F401 before any graph is built
