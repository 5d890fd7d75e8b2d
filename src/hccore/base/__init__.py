"""What every other package may use: errors, Arrow and thread helpers, rounding, the user's cache.

In: plain values and arrays. Out: the same, changed. Knows nothing of risk adjustment.
Imports no other package of hccore.
"""
