"""What `python -m edvr.benchmark` measures, one file each."""
import edvr.graph_mode  # noqa: F401 before any graph is built
