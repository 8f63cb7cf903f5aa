"""Images and texts of the experiments."""
