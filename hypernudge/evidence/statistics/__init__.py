"""Tests, intervals and effect sizes: arrays in, numbers out; no files, no plans."""
