"""The `hypernudge` command: parsers, and nothing that computes."""

from hypernudge.cli.app import main as main
