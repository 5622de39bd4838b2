"""Weights from and to PyTorch checkpoints of EDVR."""
import edvr.graph_mode  # noqa: F401 before any graph is built
