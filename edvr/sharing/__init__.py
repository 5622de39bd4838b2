"""Restores on several devices of a host: the share of each worker, and the worker processes."""
