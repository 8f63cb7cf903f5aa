"""Estimators of hyper-gradients and of curvature along the gradient."""
