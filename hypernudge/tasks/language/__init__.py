"""Text: readers, tokens, a Transformer, and the counts that a language model must beat."""
