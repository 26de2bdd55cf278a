"""What a file is by its first bytes, where it is none of documents."""

from __future__ import annotations

__all__ = ["kind_of_file"]

_KINDS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"%PDF-": "a PDF",
    b"%!PS": "PostScript",
    b"\x1f\x8b": "gzip data: give the file a name that ends in .gz",
    b"\x28\xb5\x2f\xfd": "Zstandard data: give the file a name that ends in .zst",
    b"BZh": "bzip2 data: give the file a name that ends in .bz2",
    b"\xfd7zXZ": "xz data: give the file a name that ends in .xz",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"PK\x03\x04": "a ZIP archive, as .docx, .xlsx and .npz are too: unpack it first",
    b"\xd0\xcf\x11\xe0": "an old Word or Excel file",
    b"{\\rtf": "RTF",
    b"PAR1": "a Parquet file: give it a name that ends in .parquet",
    b"ARROW1": "an Arrow file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"SQLite format 3": "an SQLite database",
    b"version https://git-lfs": "a Git LFS pointer in place of the file: type git lfs pull",
    b"\xff\xfe\x00\x00": "UTF-32 text: convert it to UTF-8",
    b"\x00\x00\xfe\xff": "UTF-32 text: convert it to UTF-8",
    b"\xff\xfe": "UTF-16 text: convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it to UTF-8",
    b"<": "XML or HTML",
} | {bytes([0x80, protocol]): "a Python pickle" for protocol in range(2, 6)}


def kind_of_file(head: bytes) -> str | None:
    r"""Return what begins with these bytes, and what to do with it; None for what may be documents in JSON.

    >>> kind_of_file(b"\x89PNG\r\n\x1a\n"), kind_of_file(b'{"symbols"')
    ('a PNG image', None)
    """
    head = head[:64].lstrip(b" \t\r\n")
    return next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), None)
