"""What a results directory holds, known once, below harness and evidence."""
