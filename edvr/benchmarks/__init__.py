"""The measurements of `python -m edvr.benchmark`, one file each."""
import edvr.graph_mode  # noqa: F401 before any graph is built
