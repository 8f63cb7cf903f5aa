"""Engines of real workers: processes of this machine, or actors of a Ray cluster; the clock is the wall's."""
