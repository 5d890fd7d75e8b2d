"""Finds eligible diagnoses and scores a population bucket by bucket, on Spark or on another engine.

`buckets` checks a run and scores one bucket of members, `model_codes` leaves out rows whose code is in no model,
and `reports` combines the reports of all buckets into one run report. `spark_buckets` deals rows on Spark,
`spark_eligibility` judges claim lines there, and `spark` scores.
In: tables of members and codes, or claim lines. Out: scores in the columns of `Result.scores`, eligible diagnoses,
and one report.
Imports `claims`, `model`, `population`, `payment`, `files`, `tables` and `base`.
"""
