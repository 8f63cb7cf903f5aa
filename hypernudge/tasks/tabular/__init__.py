"""Boosted trees on tables: classification and regression, missing values and categories as they are."""
