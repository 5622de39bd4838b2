"""The demonstration: all programs from clips to a frozen graph."""
