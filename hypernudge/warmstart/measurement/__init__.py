"""What warm starts measure: gradients, curvature, the probe, and the prior they share."""
