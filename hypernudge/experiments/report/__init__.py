"""Tables and figures of saved runs; nothing here trains."""
