"""Weights from and to PyTorch checkpoints of EDVR."""
