"""What past studies are worth: measured on past studies alone, nothing is trained."""
