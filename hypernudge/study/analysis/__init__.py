"""What is asked of a study that has run: which hyper-parameters matter, and pictures by name."""
