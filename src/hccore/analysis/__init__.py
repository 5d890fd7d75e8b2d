"""What scores and tables mean: so far the comparison of two model folders.

In: tables or results. Out: rows that say what changed.
Imports everything below `distributed`.
"""
