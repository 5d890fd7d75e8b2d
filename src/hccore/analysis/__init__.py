"""What tables and scores mean: the tables of two models or years, and CMS's reports against our results.

`hccore tables diff`: `table_changes` finds the differences, and `table_changes_text` writes the report.
`table_entries` gives the entries of a model folder as text, and `row_order` finds rows that moved. In: the
`ModelTables` of two model folders. Out: one `Change` per difference, and the lines of a report.
`hccore reconcile`: the package `reconcile`.
Imports `claims`, `member`, `files`, `tables` and `base`.
"""
