"""Scores and explains one member at a time, in plain Python.

In: a member's facts and codes, and the tables of a model. Out: the raw score, or an `Explanation` of every term.
`reference.py` is the readable specification of the algorithm. `fast.py` does the same in microseconds per member.
Needs neither NumPy nor a compiler. Imports `tables` and `base` only.
"""
