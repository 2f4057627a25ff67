"""Encode tables and targets as numeric columns and codes, and decode predictions to labels and values."""
