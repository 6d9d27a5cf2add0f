"""Console tools on top of everything else in the runtime."""
