"""The directory of a run: its configuration, its provenance, its state."""
