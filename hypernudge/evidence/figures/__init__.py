"""Figures of an evaluation, always PDF."""
