"""`eligible`: claim lines of any number of members to eligible diagnoses, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.base.threads import map_in_order
from hccore.claims.eligibility.buckets import Buckets
from hccore.claims.eligibility.drugs import SYSTEMS, DrugCondenser, DrugRows, drugs_schema
from hccore.claims.eligibility.engine import Outcome, diagnoses_schema, judge_pieces
from hccore.claims.eligibility.inputs import line_batches, member_spans
from hccore.claims.eligibility.pieces import Condenser
from hccore.claims.eligibility.row_store import RowStore, TemporaryFolder
from hccore.claims.eligibility.rules import Rules, load_rules
from hccore.claims.funnel import Funnel
from hccore.claims.reading import Claims

_THREADS = 2


class Eligible:
    """Diagnoses of claims with their states.

    The object is a table of the counted diagnoses for anything that reads `__arrow_c_stream__`, so
    `model.score(members, eligible)` takes it.

    Attributes
    ----------
    rules : Rules
    funnel : Funnel
    report : dict
        Program, year, run, window, policies, code lists, the funnel, flags and missing values. With drugs also
        `drugs`: codes read, counted and rejected by reason, for `ndc` and `hcpcs`.
    """

    def __init__(
        self,
        rules: Rules,
        counted: RowStore,
        rejected: RowStore,
        funnel: Funnel,
        counts: Mapping[str, int],
        drugs: Mapping[str, DrugStores] | None = None,
    ) -> None:
        self.rules = rules
        self.funnel = funnel
        self._counted, self._rejected = counted, rejected
        self._counts = dict(counts)
        self._drugs = drugs

    @property
    def schema(self) -> pa.Schema:
        """Schema of the counted and rejected diagnoses."""
        return self._counted.schema

    @property
    def rows(self) -> int:
        """Number of counted diagnoses."""
        return self._counted.rows

    @property
    def rows_rejected(self) -> int:
        """Number of rejected diagnoses."""
        return self._rejected.rows

    @property
    def diagnoses(self) -> pa.Table:
        """The counted diagnoses: one row for each record and code."""
        return self._counted.table()

    @property
    def rejected(self) -> pa.Table:
        """The other diagnoses, each with its reason."""
        return self._rejected.table()

    @property
    def drugs(self) -> pa.Table:
        """NDC that count: one row for each record and code. `model.score` takes the table as `ndc`.

        The columns are `member_id`, `ndc`, `service_date` (of the fill), `claim_id`, `claim_type`, `state` and
        `reason`.

        Raises
        ------
        InputError
            If `eligible` was called without `drugs=True`.
        """
        return self._drug_stores("ndc").counted.table()

    @property
    def procedures(self) -> pa.Table:
        """HCPCS that count, as `drugs` with the column `hcpcs`. The date is the record's through date."""
        return self._drug_stores("hcpcs").counted.table()

    @property
    def rejected_drugs(self) -> pa.Table:
        """The other NDC, each with its reason."""
        return self._drug_stores("ndc").rejected.table()

    @property
    def rejected_procedures(self) -> pa.Table:
        """The other HCPCS, each with its reason."""
        return self._drug_stores("hcpcs").rejected.table()

    def _drug_stores(self, system: str) -> DrugStores:
        if self._drugs is None:
            raise InputError("drugs and procedures were not asked for: call eligible with drugs=True.")
        return self._drugs[system]

    def rejected_batches(self) -> Iterator[pa.RecordBatch]:
        """The rejected diagnoses batch by batch."""
        return self._rejected.batches()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The counted diagnoses batch by batch."""
        return self._counted.batches()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The counted diagnoses as an Arrow stream."""
        return self._counted.reader().__arrow_c_stream__(requested_schema)

    @property
    def report(self) -> dict[str, Any]:
        """What was decided by which rules, in plain values ready for JSON."""
        drugs = {} if self._drugs is None else {"drugs": _drug_report(self._drugs, self.rules)}
        return {**eligibility_report(self.rules, self.funnel, self._counts), **drugs}


def eligibility_report(rules: Rules, funnel: Funnel, counts: Mapping[str, int]) -> dict[str, Any]:
    """What was decided by which rules, in plain values ready for JSON."""
    return {
        "program": rules.program,
        "year": rules.year,
        "run": rules.run,
        "window": [
            str(pa.scalar(day, pa.int32()).cast(pa.date32())) for day in (rules.first_day, rules.last_day)
        ],
        "policies": dict(rules.policies),
        "code_lists": {
            str(year): {
                "codes": len(codes.known),
                "uncertain_codes": len(codes.uncertain),
                "codes_by_standing": dict(codes.standing),
            }
            for year, codes in rules.lists.items()
        },
        "funnel": funnel.to_dict(rules.reasons),
        "counts": dict(sorted(counts.items())),
    }


class DrugStores(NamedTuple):
    """Codes of drugs of one system, and how many there are by reason (empty: they count)."""

    counted: RowStore
    rejected: RowStore
    by_reason: Counter[str]

    @classmethod
    def of(cls, system: str, folder: TemporaryFolder) -> DrugStores:
        """Empty stores for the codes of a system."""
        schema = drugs_schema(system)
        counted, rejected = (
            RowStore(schema, folder, f"{system}-{name}.arrow") for name in ("counted", "rejected")
        )
        return cls(counted, rejected, Counter())

    def add(self, rows: DrugRows) -> None:
        """Add the codes of some members."""
        self.counted.append(rows.counted)
        self.rejected.append(rows.rejected)
        self.by_reason.update(rows.by_reason)

    def close(self) -> None:
        """Finish writing."""
        self.counted.close()
        self.rejected.close()


def _drug_report(drugs: Mapping[str, DrugStores], rules: Rules) -> dict[str, Any]:
    """Codes read, counted and rejected, by system."""
    return {
        system: {
            "read": stores.by_reason.total(),
            "counted": stores.by_reason[""],
            "rejected": {
                reason: stores.by_reason[reason] for reason in rules.reasons if stores.by_reason[reason]
            },
        }
        for system, stores in drugs.items()
    }


def eligible(
    lines: Any,
    program: str = "ma",
    year: int = 2026,
    run: str = "final",
    policies: Mapping[str, str] | None = None,
    cpt_list: Any = None,
    model: Any = None,
    prior_organizations: Any = None,
    enrollment: Any = None,
    drugs: bool = False,
) -> Eligible:
    """Find the diagnoses that count.

    Parameters
    ----------
    lines : Claims, table or path
        Claim lines of the schema `hccore.claims.LINES`, in any order: what `hccore.claims.read` returns, anything
        with `__arrow_c_stream__`, a Parquet file of claim lines, or claim files.
    program : {"ma", "pace", "ffs", "hhs"}
    year : int
        Payment year; benefit year for `hhs`.
    run : {"initial", "midyear", "final"}
    policies : mapping of str to str, optional
        Policies to change by name, for a what-if: `POLICY_VALUES` has names and values.
    cpt_list : optional
        CMS's list of eligible codes for a year of service that hccore lacks: path of a CSV file with a column
        `code`, or a mapping from year to such paths.
    model : Model, optional
        Rejects diagnoses that this model does not know (`not_in_model`).
    prior_organizations : table or iterable of str, optional
        Members who were in another Medicare Advantage parent organization, with `start_date` and `end_date` of the
        span: the exception for unlinked chart reviews. Fee-for-service spans do not belong there.
    enrollment : table, optional
        Rows of `hccore.claims.ENROLLMENT`. Without it, the rows that the claim files bring are used if there are
        any; if there are none, enrollment is not tested.
    drugs : bool
        Also find the codes of drugs (`Eligible.drugs` and `.procedures`), for programs with drug categories.

    Returns
    -------
    Eligible

    Raises
    ------
    InputError
        If an argument or the lines cannot be used, or the code list of a year of service is missing.
    """
    rules = load_rules(program, year, run, policies=policies, cpt_list=cpt_list, model=model)
    switched = {} if prior_organizations is None else member_spans(prior_organizations, "prior_organizations")
    if drugs and not rules.drug_codes:
        raise InputError(f"there are no rules for drugs of {program} {year}: leave out drugs.")
    folder = TemporaryFolder()
    condenser = DrugCondenser(rules) if drugs else Condenser(rules)
    buckets = Buckets(condenser.schema, folder)
    for pieces in map_in_order(line_batches(lines, condenser.needed), _THREADS, condenser.pieces):
        buckets.add(pieces)
    if enrollment is None and isinstance(lines, Claims) and lines.enrollment.num_rows:
        enrollment = lines.enrollment
    enrolled = None if enrollment is None else member_spans(enrollment, "enrollment")
    schema = diagnoses_schema(rules)
    counted, rejected = RowStore(schema, folder, "counted.arrow"), RowStore(schema, folder, "rejected.arrow")
    funnel, counts = Funnel(), Counter({f"{name}_null": count for name, count in condenser.nulls.items()})

    stores = {system: DrugStores.of(system, folder) for system in SYSTEMS if drugs}

    def judge(pieces: pa.Table) -> Outcome:
        return judge_pieces(pieces, condenser, switched, enrolled)

    for outcome in map_in_order(buckets.tables(), _THREADS, judge):
        counted.append(outcome.counted)
        rejected.append(outcome.rejected)
        funnel.add(outcome.cells)
        counts.update(outcome.counts)
        for system, rows in outcome.drugs.items():
            stores[system].add(rows)
    funnel.raw_diagnoses = condenser.raw_entries
    counted.close()
    rejected.close()
    for found in stores.values():
        found.close()
    return Eligible(rules, counted, rejected, funnel, counts, stores if drugs else None)
