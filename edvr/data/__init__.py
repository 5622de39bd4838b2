"""Shards on disk to batches."""
