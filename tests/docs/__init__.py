"""The pages of docs/: their code runs, their links lead somewhere, and the reference is complete."""
