"""What the statistics promise, measured on simulated studies whose truth is known; and how fast they are."""
