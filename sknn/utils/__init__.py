"""Devices, precision, threads, random generators, files, text and warnings."""
