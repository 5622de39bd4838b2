"""Devices, ranks and the Ascend adapter."""
