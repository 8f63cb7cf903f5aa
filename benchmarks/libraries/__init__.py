"""The same tuning job in hypernudge and in other libraries, side by side."""
