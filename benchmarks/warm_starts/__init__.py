"""What warm starts gain, and where the scale of the learning rate may come from."""
