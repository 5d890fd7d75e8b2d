"""Every compiled function, by subject, and how its machine code is made, kept and called.

In and out: NumPy arrays, whole numbers and named tuples of them, never objects.
Imports `base`.

A kernel is called by its name here, `kernels.score_members(...)`; the function itself stands in the module named
beside it. Numba is imported only if machine code has to be made.
"""

from hccore.kernels.constants import BLOCK, NOT_SCORED, SLACK
from hccore.kernels.dispatch import Kernel

range_of_ids = Kernel("ids", "range_of_ids")
index_numbers = Kernel("ids", "index_numbers")
pack_ids = Kernel("ids", "pack_ids")
index_keys = Kernel("ids", "index_keys")
find_members = Kernel("ids", "find_members")

select_codes = Kernel("codes", "select_codes")
look_up_texts = Kernel("codes", "look_up_texts")
keep_texts = Kernel("codes", "keep_texts")
mark_icd10 = Kernel("codes", "mark_icd10")
set_codes = Kernel("codes", "set_codes")
note_rows = Kernel("codes", "note_rows")
set_noted = Kernel("codes", "set_noted")
count_empty = Kernel("codes", "count_empty")

unsnappy = Kernel("snappy", "unsnappy")

read_page_header = Kernel("pages", "read_page_header")
scan_pages = Kernel("pages", "scan_pages")
open_page = Kernel("pages", "open_page")
all_set = Kernel("pages", "all_set")
unpack_indices = Kernel("pages", "unpack_indices")
find_texts = Kernel("pages", "find_texts")
read_indices = Kernel("pages", "read_indices")
find_in_pages = Kernel("pages", "find_in_pages")

add_classes = Kernel("profiles", "add_classes")
mark_kinds = Kernel("profiles", "mark_kinds")
number_kinds = Kernel("profiles", "number_kinds")

divide_half_away = Kernel("scores", "divide_half_away")
score_members = Kernel("scores", "score_members")
variables_of_members = Kernel("scores", "variables_of_members")
find_droppers = Kernel("scores", "find_droppers")
list_bits = Kernel("scores", "list_bits")

pack_bits = Kernel("encoding", "pack_bits")
plain_texts = Kernel("encoding", "plain_texts")
least_and_greatest = Kernel("encoding", "least_and_greatest")
list_levels = Kernel("encoding", "list_levels")

__all__ = [
    "BLOCK",
    "NOT_SCORED",
    "SLACK",
    "add_classes",
    "all_set",
    "count_empty",
    "divide_half_away",
    "find_droppers",
    "find_in_pages",
    "find_members",
    "find_texts",
    "index_keys",
    "index_numbers",
    "keep_texts",
    "least_and_greatest",
    "list_bits",
    "list_levels",
    "look_up_texts",
    "mark_icd10",
    "mark_kinds",
    "note_rows",
    "number_kinds",
    "open_page",
    "pack_bits",
    "pack_ids",
    "plain_texts",
    "range_of_ids",
    "read_indices",
    "read_page_header",
    "scan_pages",
    "score_members",
    "select_codes",
    "set_codes",
    "set_noted",
    "unpack_indices",
    "unsnappy",
    "variables_of_members",
]
