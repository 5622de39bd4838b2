"""The base of all other packages: errors, options and flags, atomic files, locks, worker processes."""
