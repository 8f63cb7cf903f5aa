"""From an optimizer's step to an episode: hooks, what is applied, losses, checkpoints."""
