"""Keeps the rows of codes that some model of a run knows, before an engine sends them to other machines.

Most rows of diagnoses have a code that no model pays for. Such a row cannot change a score, whoever its member is,
so it is counted where it is read. The counts equal those of a run on one machine, because the engine too looks up
the code of a row before its member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, single_array
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.opening import open_source
from hccore.model import Model
from hccore.population.code_table import NOT_A_CODE, CodeTable, ModelCodes
from hccore.population.diagnoses import OUTCOMES, CodeCounts

_INT16_CODES = 1 << 15
Counts = Mapping[str, int | str]


class RowsOfCodes:
    """Reduces the rows of one table of codes to the rows and columns that scoring needs.

    Parameters
    ----------
    name : {"diagnoses", "ndc", "hcpcs"}
    models : sequence of Model
        All models of the run.
    exact : bool
        The option `exact_codes`.
    """

    def __init__(self, name: str, models: Sequence[Model], *, exact: bool) -> None:
        self._name = name
        self._system = "icd10cm" if name == "diagnoses" else name
        # Only codes and spellings are used, so the bits may begin anywhere.
        compiled = [ModelCodes(model.compiled, 0) for model in models]
        self._table = CodeTable(self._system, compiled, exact=exact)
        self._codes = pa.array(self._table.codes, pa.string())
        self._number_type = np.int16 if len(self._codes) <= _INT16_CODES else np.int32

    def reduced(self, rows: pa.Table, keep: Sequence[str] = ()) -> tuple[pa.Table, Counts]:
        """The rows whose code is in a model, and counts of the others.

        Parameters
        ----------
        rows : pyarrow.Table
            In long or wide form (see `open_source`).
        keep : sequence of str
            Columns to keep besides those that scoring reads.

        Returns
        -------
        rows : pyarrow.Table
            In long form. The first column has a number for each code, which `spelled` turns into codes.
        counts : dict
            As in the run report: number of rows that were left out, by outcome.

        Raises
        ------
        InputError
            If a cell cannot be read.
        """
        source = open_source(rows, self._name)
        id_column = need_column(source, ID_COLUMN)
        code_column = need_column(source, "icd10" if self._name == "diagnoses" else self._name)
        others = [*([need_column(source, "service_date")] if self._table.dated else []), *keep]
        counts = CodeCounts(code_headers=source.code_headers)
        kinds = {header: source.schema.field(header).type for header in (id_column, *others)}
        number_type = pa.from_numpy_dtype(self._number_type)
        parts = [pa.schema([(code_column, number_type), *kinds.items()]).empty_table()]
        try:
            for load in source.code_loaders(id_column, code_column, others):
                for decoded in load():
                    numbers = self._table.look_up(decoded.codes)[decoded.code_index]
                    row = number_array(np.flatnonzero(numbers >= 0))
                    columns = {id_column: decoded.ids, **decoded.others}
                    taken = {header: column.take(row) for header, column in columns.items()}
                    known = number_array(numbers[numbers >= 0].astype(self._number_type))
                    parts.append(pa.table({code_column: known, **taken}))
                    _count_others(numbers, counts)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise source.failure(error) from None
        return pa.concat_tables(parts), counts.as_report()

    def spelled(self, rows: pa.Table) -> pa.Table:
        """The rows that `reduced` returned, with codes in place of numbers, as `Job.score` takes them."""
        numbers = single_array(rows.column(0)).cast(pa.int32())
        codes = pa.DictionaryArray.from_arrays(numbers, self._codes)
        return rows.set_column(0, rows.column_names[0], codes)


def _count_others(numbers: NDArray[np.int32], counts: CodeCounts) -> None:
    """Count the rows without a code number, by outcome."""
    found = np.bincount(-numbers[numbers < 0], minlength=1 + len(NOT_A_CODE))
    counts.rows += int(found.sum())
    for reason, number in NOT_A_CODE.items():
        counts.counts[OUTCOMES.index(reason)] += int(found[-number])
