"""Whether the networks learn what they are known to learn, trained through `ModuleTask`."""
