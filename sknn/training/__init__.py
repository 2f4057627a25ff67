"""The training of a network on encoded rows: loop, batches, schedules, L-BFGS."""
