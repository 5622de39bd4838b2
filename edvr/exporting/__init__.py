"""Exported graphs: freezing, description, verification, loading."""
import edvr.graph_mode  # noqa: F401 before any graph is built
