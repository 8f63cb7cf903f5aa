"""Slurm: its commands, its accounting, and which jobs were submitted for which cells."""
