"""Warm-start policies: what is done to a sampled configuration before it costs anything."""
