"""Surrogates: models that predict the scores of untrained configurations, and samplers that use them."""
