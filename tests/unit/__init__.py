"""One module or program at a time."""
