"""Processes that run the cells of a plan, and what is declared before them."""
