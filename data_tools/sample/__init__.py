"""Drawn clips to try the programs with."""
