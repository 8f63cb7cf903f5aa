"""A learning rate for somebody who tunes nothing: `hypernudge.suggest`."""
