"""Frozen graphs: made, described, checked, loaded."""
