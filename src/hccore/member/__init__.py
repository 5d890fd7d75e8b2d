"""One member in plain Python: the reference, the fast form of it, and the explanation of a score.

In: a member's facts and codes. Out: the score, and every term of it.
Needs neither NumPy nor a compiler. Imports `tables` and `base`.
"""
