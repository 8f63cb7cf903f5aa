"""What decisions of schedulers cost, and how good they are."""
