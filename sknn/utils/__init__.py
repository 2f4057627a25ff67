"""Devices, threads, random generators and warnings."""
