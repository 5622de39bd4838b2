"""Drawn sample clips for tests of the programs."""
