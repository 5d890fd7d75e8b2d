"""Numbers that the kernels and their callers share. Importing this module does not import Numba."""

from __future__ import annotations

BLOCK = 1024  # rows per block: the scratch arrays of a block stay in the processor's cache
NOT_SCORED = -2  # in `ProfileArrays.to_score`: the model does not score members of this profile
SLACK = 32  # spare bytes that a byte buffer needs past its end: kernels may read or write up to that far

# Columns of the page tables that `scan_pages` writes, int64[n_pages, PAGE_COLUMNS].
PAGE_TYPE = 0  # `PageType` of parquet.thrift: 0 data, 2 dictionary, 3 data (version 2)
PAGE_START = 1  # first byte of the page in the chunk, behind the header and any uncompressed levels
PAGE_SIZE = 2  # bytes in the chunk
PAGE_FULL_SIZE = 3  # bytes after decompression
PAGE_VALUES = 4  # number of values, nulls included
PAGE_ENCODING = 5  # 0 plain, 2 dictionary indices
PAGE_COMPRESSED = 6  # 0 or 1
PAGE_BODY = 7  # first byte of the page in the chunk, behind the header
PAGE_CHECKSUM = 8  # CRC-32 of the bytes from PAGE_BODY to the end of the page, or NO_CHECKSUM
PAGE_COLUMNS = 9
NO_CHECKSUM = -1
