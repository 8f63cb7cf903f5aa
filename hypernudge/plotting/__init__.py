"""What every picture shares: one look, and how it is shown and written."""
