"""The hooks of a training step: log line, summaries, checkpoints, guard, signals, validation."""
