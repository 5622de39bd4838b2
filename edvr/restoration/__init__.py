"""Clips in, restored frames out; windows, tiles, files and metrics."""
