"""Import the Medicare models: CMS-HCC, ESRD and RxHCC.

In: a release in the form of CMS's Python packages (2026 and later). Out: a `ModelFolder`.
CMS's files hold the factors, categories and codes. The rules that set the variables are in CMS's
software, so they are repeated here under CMS's variable names. One module holds each kind of rule,
and `steps` calls them in order. What a single model does beside its tables (such as recodes before
the hierarchies) is in `hcc_mappings/sources.toml`. Imports the other modules of `importer`, except `hhs`.

Sources of the rules: CMS's Python package for V28 (2027 initial), and the SAS programs V2823T2M,
V2423P1M and V2223O1M (CMS-HCC), E2423T1M and E2123P1M (ESRD) and R0823T1M (RxHCC) with their
macros for age and sex.
"""

from hccore.tables.importer.medicare.release import PROGRAMS
from hccore.tables.importer.medicare.steps import build

__all__ = ["PROGRAMS", "build"]
