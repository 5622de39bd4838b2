"""Restoring on several devices of a host: what each gets, and the processes that do it."""
