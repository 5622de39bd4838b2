"""Training: model_fn, optimizer, schedule, hooks."""
import edvr.graph_mode  # noqa: F401 before any graph is built
