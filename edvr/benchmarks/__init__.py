"""What `python -m edvr.benchmark` measures, one file each."""
