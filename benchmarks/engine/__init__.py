"""Training steps per second of the engine, and what its batching may change."""
