"""Numbers that kernels and their callers agree on."""

from __future__ import annotations

BLOCK = 1024  # rows that a kernel treats together
NOT_SCORED = -2  # in the place of the segment of a profile
SLACK = 32  # bytes behind the end of a buffer of bytes that a kernel may read or write
