"""Which diagnoses of claims count: every diagnosis gets a state and, if it does not count, the first reason.

In: claim lines, and the rules of a program, year and run (`rules`, from `hcc_mappings/eligibility`). Out:
`Eligible`. Order: `inputs` (lines) → `pieces` (neighbouring lines of a record) → `buckets` (members) → `units`
(records and their versions) → `record_tests` → `engine` (diagnoses) → `results`. `drugs` finds codes of drugs,
if asked for. `reference` and `reference_drugs` are the same in plain Python.
May import `claims.lines`, `claims.versions`, `claims.funnel`, `claims.reading` and everything below `claims`.
"""

from hccore.claims.eligibility.engine import Outcome, eligible_of_members
from hccore.claims.eligibility.results import Eligible, eligible
from hccore.claims.eligibility.rules import POLICY_VALUES, Rules, load_rules

__all__ = ["POLICY_VALUES", "Eligible", "Outcome", "Rules", "eligible", "eligible_of_members", "load_rules"]
