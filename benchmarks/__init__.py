"""Measures time and memory of hccore and of other engines on a realistic synthetic population."""
