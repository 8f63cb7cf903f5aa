"""The confirmation study of the warm starts: its larger tasks, and what its blocks say together."""
