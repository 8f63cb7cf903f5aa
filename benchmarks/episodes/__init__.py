"""What episodes add to the cost of a training step."""
