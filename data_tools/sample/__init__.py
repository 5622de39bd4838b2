"""Drawn clips for trying things out."""
