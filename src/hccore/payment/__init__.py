"""From raw scores to payment scores: factors, normalization, coding adjustment, blend and frailty.

In: raw scores in thousandths, and the factors of `hcc_mappings`. Out: payment scores in thousandths.
Imports `tables` and `base`.
"""
