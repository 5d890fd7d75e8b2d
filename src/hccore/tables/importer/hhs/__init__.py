"""Import the HHS-HCC models of the ACA: adult, child and infant, in one folder for each year.

In: a release as CSV files with CMS's names and columns. Out: a `ModelFolder`. The files have the
content of CMS's "Do It Yourself" (DIY) tables. DIY Tables 6 (adult), 7 (child) and 8 (infant) say
what sets each variable and in which order. One module holds each kind of rule, and `steps` calls
them in order. Where CMS's software of 2025 differs from the DIY tables, the DIY tables are
followed (see the notes in `hcc_mappings/sources.toml`). Imports the other modules of `importer`,
except `medicare`.
"""

from hccore.tables.importer.hhs.release import PROGRAMS
from hccore.tables.importer.hhs.steps import build

__all__ = ["PROGRAMS", "build"]
