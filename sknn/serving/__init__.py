"""A prediction service: HTTP routes, a page and metrics for an exported model (`sknn serve`)."""
