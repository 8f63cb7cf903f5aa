"""Does adapting the learning rate in episodes help? Paired seeds, wrong rates, label noise, competitors."""
