"""Collects claim lines as Python values, column by column, and makes Arrow batches of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from hccore.claims.lines import BATCH_LINES


class RowBuilder:
    """Collects rows of one schema. A column that a row does not name is null.

    Parameters
    ----------
    schema : pyarrow.Schema
        `LINES` or `ENROLLMENT`.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        self.rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row: values by column name."""
        for name, values in self.columns.items():
            values.append(row.get(name))
        self.rows += 1

    @property
    def full(self) -> bool:
        """Whether enough rows for a batch are there."""
        return self.rows >= BATCH_LINES

    def flush(self) -> pa.RecordBatch:
        """The rows as a batch. The builder is empty afterwards."""
        arrays = [pa.array(self.columns[field.name], field.type) for field in self.schema]
        for values in self.columns.values():
            values.clear()
        self.rows = 0
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)
