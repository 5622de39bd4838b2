"""The whole line from clips to a frozen graph, as one demonstration."""
