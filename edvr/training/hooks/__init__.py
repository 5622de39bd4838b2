"""What happens around each step: log line, summaries, checkpoints, guard, signals, validation."""
