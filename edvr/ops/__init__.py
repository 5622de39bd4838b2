"""The operations that networks are made of, for every way of computing them."""
import edvr.graph_mode  # noqa: F401 before any graph is built
