"""Offline tools: clips on disk to TFRecord shards. They need no accelerator and import nothing from `edvr`."""
