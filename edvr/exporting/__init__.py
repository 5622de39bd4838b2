"""Exported graphs: freezing, description, verification, loading."""
