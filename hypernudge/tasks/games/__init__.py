"""Reinforcement learning: PPO on Atari and on classic control (extra `rl`)."""
