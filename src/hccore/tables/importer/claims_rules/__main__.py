"""`python -m hccore.tables.importer.claims_rules CMS_TABLES hcc_mappings` writes the tables again."""

import sys
from pathlib import Path

from hccore.tables.importer.claims_rules.rules import import_claims_rules

if __name__ == "__main__":
    import_claims_rules(Path(sys.argv[1]), Path(sys.argv[2]))
