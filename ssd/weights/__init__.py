"""Checkpoint files, and networks from them."""
