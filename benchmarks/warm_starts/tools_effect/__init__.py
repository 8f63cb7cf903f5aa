"""A warm start inside other people's tools, beside the tools alone: Optuna and Ray Tune."""
