"""TensorBoard events, written from Python: no summary operation enters any graph."""
