"""Restored frames against their ground truth."""
