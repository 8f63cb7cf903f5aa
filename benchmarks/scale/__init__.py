"""How a study grows: with workers, with trials, and with the length of a unit."""
