"""The claim-line table: the one form into which every claims reader writes.

One row per claim line. What holds for the whole claim (dates, bill type, diagnoses) is repeated on each of its
lines. A claim without lines is one row whose `claim_line` is null. What a source does not say is null, never
guessed.
"""

from __future__ import annotations

import pyarrow as pa

CLAIM_TYPES = ("professional", "inpatient", "outpatient", "other")
FORMATS = ("rif", "cclf", "fhir", "x12", "edge", "table")
VERSIONS = ("original", "replacement", "void")
ROLES = ("principal", "other", "admitting", "reason_for_visit", "external_cause")

DIAGNOSIS = pa.struct(
    [
        ("code", pa.string()),  # upper case, without the dot
        ("icd_version", pa.int8()),  # 10 or 9; null if the source does not say
        ("role", pa.string()),  # one of ROLES
        ("present_on_admission", pa.string()),  # Y, N, U, W, 1 as the source writes it
        ("pointed", pa.bool_()),  # the line points to it; null where the format has no pointers
    ]
)

# Names follow Tuva's `medical_claim` where it has the column.
LINES = pa.schema(
    [
        ("source", pa.string()),  # name of the file
        (
            "source_row",
            pa.int64(),
        ),  # row, line, byte or resource of the file at which the record begins, from 1
        ("member_id", pa.string()),
        ("claim_id", pa.string()),
        ("claim_line", pa.int32()),
        ("claim_type", pa.string()),  # one of CLAIM_TYPES
        ("form", pa.string()),  # one of FORMATS
        ("version", pa.string()),  # one of VERSIONS
        ("replaces", pa.string()),  # claim id or control number of the claim that this one replaces or voids
        ("effective_date", pa.date32()),  # when this version was made; decides between versions
        ("effective_order", pa.int64()),  # order of versions of the same effective date; larger is later
        # Columns that tie the records of a claim together (see `claims.versions`):
        ("record", pa.string()),  # tells records apart that share a claim id, e.g. X12 claims by their dates
        ("control_number", pa.string()),  # a second name of the claim, to which `replaces` may refer
        ("chain", pa.string()),  # key that all versions of one claim share, where the format has one
        ("final_action", pa.bool_()),  # the source says whether this version is the final one
        ("from_date", pa.date32()),
        ("thru_date", pa.date32()),
        ("line_from_date", pa.date32()),
        ("line_thru_date", pa.date32()),
        ("admission_date", pa.date32()),
        ("discharge_status", pa.string()),
        ("bill_type", pa.string()),  # as the source writes it (see `claims.bill_types`)
        ("place_of_service", pa.string()),
        ("hcpcs", pa.string()),
        ("modifiers", pa.list_(pa.string())),
        ("units", pa.float64()),
        ("revenue_code", pa.string()),
        ("ndc", pa.string()),
        ("days_supply", pa.int32()),
        ("specialty", pa.string()),  # Medicare specialty code
        ("taxonomy", pa.string()),  # NUCC taxonomy
        ("rendering_npi", pa.string()),
        ("facility_id", pa.string()),
        ("denied", pa.string()),  # yes, no, unknown
        ("paid_amount", pa.int64()),  # cents
        ("chart_review", pa.string()),  # no, linked, unlinked; null where the format has no chart reviews
        ("chart_review_delete", pa.bool_()),  # the chart review takes the listed diagnoses away
        ("diagnoses", pa.list_(DIAGNOSIS)),
    ]
)

# What a source says about a member's enrollment: one row per member and span of time.
ENROLLMENT = pa.schema(
    [
        ("source", pa.string()),
        ("source_row", pa.int64()),
        ("member_id", pa.string()),
        ("start_date", pa.date32()),  # first day of the span; null: no beginning is known
        ("end_date", pa.date32()),  # last day; null: open
        ("birth_date", pa.date32()),
        ("sex", pa.string()),  # M or F
        ("death_date", pa.date32()),
        ("orec", pa.string()),  # original reason for entitlement, 0 to 3
        ("dual_status_code", pa.string()),  # two digits, 00 to 09; NA
        ("medicare_status", pa.string()),  # 10, 11, 20, 21, 31
        ("esrd", pa.bool_()),
        ("part_a", pa.bool_()),
        ("part_b", pa.bool_()),
        ("institutional", pa.bool_()),  # long-term institutional
        ("low_income", pa.bool_()),
        ("contract_id", pa.string()),
        ("plan_id", pa.string()),
        ("months_part_a", pa.int32()),  # months within the span, where the source only counts them
        ("months_part_b", pa.int32()),
        ("metal", pa.string()),  # ACA only
        ("csr_indicator", pa.int32()),  # ACA only
        ("market", pa.string()),  # ACA only
    ]
)

BATCH_LINES = 1 << 16  # lines of a batch that a reader passes on
