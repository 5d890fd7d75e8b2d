"""Every compiled function, by subject, and how its machine code is made, kept and called.

In and out: NumPy arrays, whole numbers and named tuples of them, never objects.
Imports `base`.
"""
