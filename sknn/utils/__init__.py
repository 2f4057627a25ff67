"""Devices, precision, threads, random generators and warnings."""
