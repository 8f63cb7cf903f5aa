"""Seconds of the wall to a target: studies on two real workers, beside other tools on the same training."""
