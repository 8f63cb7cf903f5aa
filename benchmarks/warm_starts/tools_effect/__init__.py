"""A warm start inside other people's tools, beside the tools alone: Optuna, Ray Tune, Syne Tune and NePS."""
