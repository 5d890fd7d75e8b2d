"""The error for damage that hccore itself finds in a file."""

from __future__ import annotations

import pyarrow as pa


class DamagedFileError(pa.ArrowInvalid):  # type: ignore[misc]
    """A file is damaged. The text is hccore's own and holds no value of a row, so messages may repeat it."""
