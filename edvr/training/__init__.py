"""Training: model_fn, optimizer, schedule, hooks."""
