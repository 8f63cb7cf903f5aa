"""From YAML to a plan: composed, checked against the schema, resolved."""
