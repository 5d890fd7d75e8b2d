"""The same job done by other engines: what hccore is measured against, and an independent check of its answers.

Each module is a script, `python -m benchmarks.peers.<name> MEMBERS DIAGNOSES OUT`, that scores CMS-HCC V28 of 2026
from Parquet to Parquet. They share nothing with hccore but the tables in `hcc_mappings`.
"""
