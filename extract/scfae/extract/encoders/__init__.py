"""One adapter a family of encoders: its network, its recipe, its weights layout."""
