"""Tables, text, HTML and notebooks of an evaluated study."""
