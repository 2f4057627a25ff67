"""The fits of a search, trained together."""
