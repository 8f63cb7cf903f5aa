"""Tasks whose training was tabulated before: learning curves to look up."""
