"""PPO on games: learning curves, and the tax of the task over stable-baselines3 itself."""
