"""The tables of a model as CMS publishes them: find, read and check them.

In: a model folder of `hcc_mappings`, in the format that `hcc_mappings/README.md` describes.
Out: `ModelTables` (see `schema`), checked, in which variables, segments and codes are plain names.
`loading` caches them, `conditions` parses their conditions, `member_columns` lists the columns of a member that
conditions can use, and `importer` writes model folders from CMS's releases. Imports only `base`.
"""
