"""Warm starts on a ResNet, a ViT and a language model: the limit of a schedule, the probe under BatchNorm."""
