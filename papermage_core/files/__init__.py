"""Files: read and written compressed, seen whole or not at all, and never in the place of another unasked."""

from papermage_core.files.checked import check_file, checked_file
from papermage_core.files.compression import COMPRESSIONS, compression, open_bytes
from papermage_core.files.hub import download
from papermage_core.files.keys import check_keys, column
from papermage_core.files.lines import Lines
from papermage_core.files.magic import kind_of_file
from papermage_core.files.outputs import check_output, open_output
from papermage_core.files.walk import find_files, is_dead_link
from papermage_core.files.whole import exclusive, recover, whole_file, whole_folder, whole_text_file

__all__ = [
    "COMPRESSIONS",
    "Lines",
    "check_file",
    "check_keys",
    "check_output",
    "checked_file",
    "column",
    "compression",
    "download",
    "exclusive",
    "find_files",
    "is_dead_link",
    "kind_of_file",
    "open_bytes",
    "open_output",
    "recover",
    "whole_file",
    "whole_folder",
    "whole_text_file",
]
