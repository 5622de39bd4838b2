"""Restored frames on their way to disk: PNG folders and video files."""
