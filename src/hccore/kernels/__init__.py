"""All compiled functions (kernels): scoring, code and id look-ups, reading and writing Parquet pages.

In and out: NumPy arrays, integers and named tuples of these. Kernels write results into arrays of the caller.
Call a kernel by its name in this package, `kernels.score_members(...)`. The function and the description of its
arguments are in the module that is named below. Numba is imported only if a kernel has to be compiled.
May import: `base`.
"""

from hccore.kernels.constants import BLOCK, NO_CHECKSUM, NOT_SCORED, PAGE_COLUMNS, SLACK
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
group_updates = Kernel("codes", "group_updates")
apply_updates = Kernel("codes", "apply_updates")
count_empty = Kernel("codes", "count_empty")

decompress_snappy = Kernel("snappy", "decompress_snappy")

read_page_header = Kernel("page_headers", "read_page_header")
scan_pages = Kernel("page_headers", "scan_pages")

all_levels_set = Kernel("levels", "all_levels_set")
unpack_indices = Kernel("levels", "unpack_indices")

open_page = Kernel("pages", "open_page")
find_texts = Kernel("pages", "find_texts")
read_indices = Kernel("pages", "read_indices")
find_in_pages = Kernel("pages", "find_in_pages")

add_to_keys = Kernel("profiles", "add_to_keys")
mark_keys = Kernel("profiles", "mark_keys")
number_keys = Kernel("profiles", "number_keys")

divide_half_away = Kernel("scores", "divide_half_away")
score_members = Kernel("scores", "score_members")
variables_of_members = Kernel("scores", "variables_of_members")
find_droppers = Kernel("scores", "find_droppers")
list_bits = Kernel("scores", "list_bits")

pack_bits = Kernel("encoding", "pack_bits")
plain_texts = Kernel("encoding", "plain_texts")
find_min_max = Kernel("encoding", "find_min_max")
list_levels = Kernel("encoding", "list_levels")

merge_diagnoses = Kernel("diagnoses", "merge_diagnoses")
split_x12 = Kernel("x12_segments", "split_x12")
next_block = Kernel("x12_segments", "next_block")
read_x12 = Kernel("x12", "read_x12")
measure_texts = Kernel("x12_texts", "measure_texts")
copy_texts = Kernel("x12_texts", "copy_texts")
list_diagnoses = Kernel("x12_texts", "list_diagnoses")

__all__ = [
    "BLOCK",
    "NOT_SCORED",
    "NO_CHECKSUM",
    "PAGE_COLUMNS",
    "SLACK",
    "add_to_keys",
    "all_levels_set",
    "apply_updates",
    "copy_texts",
    "count_empty",
    "decompress_snappy",
    "divide_half_away",
    "find_droppers",
    "find_in_pages",
    "find_members",
    "find_min_max",
    "find_texts",
    "group_updates",
    "index_keys",
    "index_numbers",
    "keep_texts",
    "list_bits",
    "list_diagnoses",
    "list_levels",
    "look_up_texts",
    "mark_icd10",
    "mark_keys",
    "measure_texts",
    "merge_diagnoses",
    "next_block",
    "number_keys",
    "open_page",
    "pack_bits",
    "pack_ids",
    "plain_texts",
    "range_of_ids",
    "read_indices",
    "read_page_header",
    "read_x12",
    "scan_pages",
    "score_members",
    "select_codes",
    "set_codes",
    "split_x12",
    "unpack_indices",
    "variables_of_members",
]
