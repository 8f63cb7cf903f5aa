"""From an optimizer's step to an episode: hooks, what is in force, losses, persistence."""
