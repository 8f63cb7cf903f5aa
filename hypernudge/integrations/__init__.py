"""Warm starts and episodes inside other people's tools."""
