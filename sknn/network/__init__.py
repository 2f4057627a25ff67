"""The networks and what they consist of: layers, losses, metrics, solvers."""
