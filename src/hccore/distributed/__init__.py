"""Scores a population bucket by bucket, on Spark or on any other engine that distributes rows.

`buckets` checks a run and scores one bucket of members, `reports` combines the reports of all buckets into one run
report, and `spark` does the whole run on Spark.
In: tables of members and codes. Out: scores in the columns of `Result.scores`, and one run report.
Imports `model`, `population`, `payment`, `files`, `tables` and `base`.
"""
