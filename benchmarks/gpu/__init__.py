"""What only a GPU can show, in parts of a minute or two; every part also runs on a CPU, tiny."""
