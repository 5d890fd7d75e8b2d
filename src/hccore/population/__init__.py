"""Millions of members: read them, read their codes, score them, make tables of the results.

In: members and codes as files or frames, and models. Out: `Result`.
Imports `payment`, `member`, `files`, `kernels`, `tables` and `base`.
"""
