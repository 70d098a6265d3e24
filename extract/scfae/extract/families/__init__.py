"""What encoders there are, one light module a family; `registry.py` has the list of families."""
