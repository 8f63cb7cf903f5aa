"""Command lines of the experiments, and plans of many runs."""
