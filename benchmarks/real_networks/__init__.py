"""Warm starts on a ResNet, a ViT and a language model: the planned study's tasks, and its analysis."""
