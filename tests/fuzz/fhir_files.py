"""Damaged FHIR files: NDJSON, arrays, Bundles and Bundles over many lines."""

from __future__ import annotations

import random
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.fuzz.claims_damage import damaged_records
from tests.fuzz.claims_door import MEMBERS, ClaimsDoor, Found, base_claims, content, filled_lines
from tests.fuzz.doors import FindingError
from tests.support_claims_fhir import BLUE_BUTTON, eob, variable, write_resources

MBI = "http://hl7.org/fhir/sid/us-mbi"
CONTAINERS = {
    "ndjson": "claims.ndjson",
    "array": "claims.json",
    "bundle": "claims.json",
    "pretty": "claims.json",
}
TOKENS = (
    *(
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\",
        b"\0",
        b"\xff",
        b"\n",
        b",",
        b":",
        b"null",
        b"1e999",
        b"{}",
        b"[]",
    ),
    *(
        b'"resourceType"',
        b'{"resourceType": "Bundle", "entry": [',
        b'"entry": [',
        b"\\u0000",
        b"\\ud800",
        b"//",
    ),
)
VALUES = (
    *(
        None,
        True,
        0,
        -1,
        1 << 70,
        1e300,
        "",
        " ",
        "x",
        "²",
        "\0",
        "2026-02-30",
        "0000",
        "9999-99",
        "10000-01-01",
    ),
    *(
        [],
        {},
        [[]],
        [{}],
        [None],
        {"coding": 7},
        {"coding": [{}]},
        {"reference": 7},
        {"reference": "#"},
        "A" * 70_000,
    ),
)
DEPTHS = (10, 100, 500, 1000, 5_000, 50_000)
_MARK = "@deep@"


def make_door(_name: str) -> ClaimsDoor:
    return FhirDoor()


class FhirDoor(ClaimsDoor):
    """Every line of an NDJSON file, and every claim whose bytes are whole, must be a row, set aside or noticed."""

    format = "fhir"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        resources = self._resources(draw)
        deep = draw.choice(DEPTHS) if draw.random() < 0.05 else 0
        if deep:
            _put(draw.choice(resources), draw, _MARK)
        elif draw.random() < 0.4:
            for _ in range(draw.choice((1, 1, 2, 5))):
                _put(draw.choice(resources), draw, draw.choice(VALUES))
        container = draw.choice(("ndjson", "ndjson", "array", "bundle", "pretty"))
        with tempfile.TemporaryDirectory(prefix="fuzz-base-") as name:
            data = write_resources(Path(name) / "a", resources, container).read_bytes()
        nested = draw.choice(
            (b"[%s]", b'{"a":%s}', b'{"extension":[%s]}', b'{"resourceType":"Bundle","entry":[%s]}')
        )
        if deep:
            begin, end = nested.split(b"%s")
            data = data.replace(b'"%s"' % _MARK.encode(), begin * deep + b"1" + end * deep)
        return {CONTAINERS[container]: data}

    def damaged(self, data: bytes, draw: random.Random) -> bytes:
        how = draw.random()
        if how < 0.25:
            return data  # wrong values, see `files`
        if how < 0.5:
            return damaged_records(data, draw, self.separator)
        for _ in range(draw.choice((1, 1, 2, 4))):
            at = draw.randrange(len(data) + 1)
            data = data[:at] + draw.choice(TOKENS) + data[at + draw.choice((0, 0, 1, 9, 200)) :]
        return data

    def account(self, folder: Path, found: Found) -> None:
        (path,) = folder.iterdir()
        data = content(path)
        told = len(found.kept) + sum(count for _, _, count in found.notices)
        if path.suffix == ".ndjson" and not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            # Unlike in the other formats, carriage returns alone do not end a line.
            lines = filled_lines(data) if b"\n" in data else {1: data} if data.strip(b" \t\r\n") else {}
            positions = found.positions(path.name)
            lost = [n for n, line in lines.items() if line.strip(b" \t\r\n") and n not in positions]
            if len(lost) > sum(count for _, _, count in found.notices):
                raise FindingError("a lost line", lost[:5])
        if not told:
            count = data.count(b'"resourceType": "ExplanationOfBenefit"')
            rows = found.lines.select(["source_row", "claim_id", "record"]).to_pylist()
            if count > len({tuple(row.values()) for row in rows}):
                raise FindingError("a lost claim", count)

    def _resources(self, draw: random.Random) -> list[dict[str, Any]]:
        stu3 = draw.random() < 0.3
        resources = [eob(claim, stu3) for claim in base_claims(draw.randrange(1000), draw.choice((1, 2, 3)))]
        if draw.random() < 0.4:
            member = MEMBERS[draw.randrange(len(MEMBERS))]
            resources.append(
                {
                    "resourceType": "Patient",
                    "id": member,
                    "birthDate": "1950-03-04",
                    "gender": "female",
                    "identifier": [{"system": MBI, "value": MEMBERS[0]}],
                }
            )
            months = [variable(f"buyin{month:02}", draw.choice("0C1")) for month in range(1, 13)]
            year = {"url": f"{BLUE_BUTTON}/variables/rfrnc_yr", "valueDate": "2026"}
            duals = [variable(f"dual_{month:02}", draw.choice(("NA", "02"))) for month in range(1, 13)]
            resources.append(
                {
                    "resourceType": "Coverage",
                    "id": "c",
                    "status": "active",
                    "beneficiary": {"reference": f"Patient/{member}"},
                    "extension": [year, *months, *duals],
                }
            )
        draw.shuffle(resources)
        return resources


def _put(resource: dict[str, Any], draw: random.Random, value: Any) -> None:
    """Put a value at a random place of a resource; now and then remove or rename what is there."""
    place: Any = resource
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.75:
            place = place[key]
            continue
        break
    how = draw.random()
    if value == _MARK or how < 0.8:
        place[key] = deepcopy(value)
    elif how < 0.9:
        del place[key]
    elif isinstance(place, dict):
        place[draw.choice(("resourceType", "id", "extension", "x", "reference", "entry"))] = place.pop(key)
