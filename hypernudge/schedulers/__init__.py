"""Schedulers: pure functions of a study's history, one algorithm per file."""
