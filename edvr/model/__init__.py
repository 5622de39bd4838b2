"""The network: one stage per file, wired in `network`."""
