"""What chooses the selection of the next episode: alignment or bandits."""
