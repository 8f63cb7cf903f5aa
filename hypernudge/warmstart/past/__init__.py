"""Past studies of any space: what they recorded, what of it transfers, and the choice made of that."""
