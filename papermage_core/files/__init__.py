"""Files: read and written compressed, seen whole or not at all, and never in the place of another unasked."""

from papermage_core.files.compression import COMPRESSIONS, compression, open_bytes
from papermage_core.files.outputs import check_output, open_output
from papermage_core.files.whole import exclusive, recover, whole_file, whole_folder, whole_text_file

__all__ = [
    "COMPRESSIONS",
    "check_output",
    "compression",
    "exclusive",
    "open_bytes",
    "open_output",
    "recover",
    "whole_file",
    "whole_folder",
    "whole_text_file",
]
