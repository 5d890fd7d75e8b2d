"""Score many members at once, in memory that depends on the number of members, not of diagnoses.

Members are read first and assigned to models and segments. Then codes are read batch by batch, and members are
scored block by block. In: members and codes as files or frames, and models. Out: `Result`.
Imports `payment`, `member`, `files`, `kernels`, `tables` and `base`.
"""
