"""The live page: studies and experiments of a folder in a browser, while they run. It only reads."""
