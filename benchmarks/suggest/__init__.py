"""`hypernudge.suggest` against learning-rate finders."""
