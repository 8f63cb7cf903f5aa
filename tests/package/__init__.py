"""The wheel and the source distribution, in environments of their own."""
