"""Clips to shards of records: the job, the writer of a shard, the check of a set."""
