"""Clips on disk, images, videos, windows of frames, degradations."""
