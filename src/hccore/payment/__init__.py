"""Turns raw scores into payment scores: normalization, coding adjustment, blend and frailty.

In: raw scores in thousandths, and the factors of `hcc_mappings` or of the user.
Out: payment scores in thousandths. The arithmetic is in whole numbers and rounds halves away from zero.
Imports `tables` and `base` only.
"""
