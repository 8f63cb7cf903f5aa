"""Surrogates: what is believed about configurations that were not trained yet, and samplers that use it."""
