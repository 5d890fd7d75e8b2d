"""CMS's tables of a model: their schema, reading and checking them, and the grammar of their conditions.

In: a model folder of `hcc_mappings`. Out: `ModelTables`, checked, in names only.
`importer` writes such folders from CMS's releases.
Imports `base`.
"""
