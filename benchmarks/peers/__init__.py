"""Scores CMS-HCC V28 of 2026 with other engines, to compare their speed and scores with those of hccore.

Each module is a script, `python -m benchmarks.peers.<name> MEMBERS DIAGNOSES OUT`, that scores from Parquet to
Parquet. The scripts use the tables in `hcc_mappings`, but no code of hccore.
"""
