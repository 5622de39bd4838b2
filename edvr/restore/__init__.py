"""Clips in, restored frames out; windows, tiles, files and metrics."""
import edvr.graph_mode  # noqa: F401 before any graph is built
