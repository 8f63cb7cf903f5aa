"""Paired, censored, pre-declared comparisons: outcomes, tests, effect sizes, verdicts, figures, tables."""
