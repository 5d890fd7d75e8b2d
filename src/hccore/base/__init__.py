"""Helpers that every other package may use. None of them knows about risk adjustment.

Contents: the errors that hccore raises, conversions between Arrow and NumPy, threads, rounding, dates, the cache
in the user's home folder, the location of packaged data, and the version.
In: plain values and arrays. Out: the same, converted. Imports no other package of hccore.
"""
