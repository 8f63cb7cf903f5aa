"""From files to a study: plans, records, long-form tables, and what is wrong with them."""
