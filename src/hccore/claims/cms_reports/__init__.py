"""Reads the reports in which CMS answers a plan: MAO-004, Model Output Report, Monthly Membership Report.

In: files of fixed width, plain or gzip. Out: Arrow tables whose columns are the fields of the layout, and records
that could not be used (`claims.set_aside`). Fields, record types, lengths and codes are data in
`hcc_mappings/layouts` (`mao004.csv`, `mmr.csv`, `mor/`, `cms_report_*.csv`, `ra_factor_types.csv`).
Order: `report_layouts` (what a record looks like) → `report_files` (files to tables) → `report_tables` (the three
reports) → `net_diagnoses` (what CMS counts after voids, replacements and deletions).
May import `claims.readers`, `claims.set_aside` and everything below `claims`.
"""

from hccore.claims.cms_reports.report_tables import read_mao004, read_mmr, read_mor

__all__ = ["read_mao004", "read_mmr", "read_mor"]
