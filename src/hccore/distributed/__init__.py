"""A population in buckets, scored anywhere and put together again; and the same on Spark.

In: schemas, then buckets of members and codes. Out: scores of each bucket and one report of all.
Imports `model` and everything below it.
"""
