"""Episodic adaptation of a running optimizer (AEES): axes, rewards, bandits, hooks."""
