"""Parts of the Optuna integration."""
