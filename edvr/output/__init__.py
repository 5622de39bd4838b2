"""Writes restored frames: PNG folders and video files."""
