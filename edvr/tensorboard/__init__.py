"""TensorBoard events, written from Python: no summary operation enters any graph."""
import edvr.graph_mode  # noqa: F401 before any graph is built
