"""The input pipeline: from shards on disk to batches."""
import edvr.graph_mode  # noqa: F401 before any graph is built
