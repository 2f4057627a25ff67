"""The network itself: layers, losses, solvers and schedules over a members axis."""
