"""One cell: built, tuned, recorded and sealed."""
