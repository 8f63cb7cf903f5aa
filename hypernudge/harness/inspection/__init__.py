"""Reads results: status, explanations, priors, simulations, damage."""
