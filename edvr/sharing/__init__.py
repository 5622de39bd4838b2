"""Restoration on several devices of a host: the share of each device, and the worker processes."""
