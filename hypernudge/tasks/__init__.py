"""Built-in tasks on real data, and the networks they train."""
