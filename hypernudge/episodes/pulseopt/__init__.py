"""The front and the decisions of `pulseopt`, kept exactly."""
