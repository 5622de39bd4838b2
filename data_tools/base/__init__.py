"""What every part uses: errors, options and flags, files that appear whole, locks, worker processes."""
