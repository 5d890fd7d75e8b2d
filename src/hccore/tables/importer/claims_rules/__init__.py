"""Write the rules of eligibility and the ICD-10-CM codes by date.

In: `catalogue.toml` of `hcc_mappings/eligibility` (what the sources say), and a folder of CMS's tables (code lists
of Medicare and HHS, ICD-10-CM codes by date). Out: `hcc_mappings/eligibility` and `hcc_mappings/icd10cm`, which
their `README.md` describe. Imports `base`.
"""

from hccore.tables.importer.claims_rules.rules import import_claims_rules

__all__ = ["import_claims_rules"]
