"""Fuzzers: damaged files through every door by which data comes in.

A door is a module: `parquet_files`, `csv_files` (plain and gzipped), `arrow_files`, `model_tables`, `conditions`,
`cms_releases`, and for claims `rif_files`, `cclf_files`, `fhir_files`, `x12_files`, `edge_files` and
`claim_tables` (`claims_door` has what they share). It makes the files of a case from a seed, and reads them.
`cases` runs a range of cases in a process and notes what hccore must not do. `__main__` starts these processes,
survives their crashes and keeps what they find. `make fuzz ARGS="--minutes 5"` runs all doors with new seeds.
`make fuzz ARGS="--replay FOLDER"` runs a kept case.
"""
