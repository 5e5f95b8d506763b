"""Stage 1: find every product on a shelf photo, whatever it is called."""
