"""The record and the manifest, for both writer and reader."""
