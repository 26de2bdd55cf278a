from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.errors import DataError
from papermage_core.files import Lines, open_bytes

CONTENT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xff"])).map(b"".join)


@given(CONTENT, st.integers(1, 6))
def test_lines_are_those_of_the_file_but_for_those_that_are_too_long(content: bytes, limit: int) -> None:
    found: list[tuple[int | None, int, bytes | None]] = []
    lines = Lines(io.BytesIO(content), limit)
    while True:
        try:
            line = next(lines)
        except StopIteration:
            break
        except DataError as exc:
            found.append((exc.line, lines.start, None))
        else:
            found.append((lines.number, lines.start, line))
    expected, start = [], 0
    for number, line in enumerate(io.BytesIO(content), 1):
        expected.append((number, start, line if len(line) <= limit else None))
        start += len(line)
    assert found == expected


def test_the_message_names_the_limit_and_the_option_that_raises_it() -> None:
    with pytest.raises(DataError) as caught:
        list(Lines(io.BytesIO(bytes(5 << 20)), 3 << 20, option="reader.max_line_mb"))
    assert str(caught.value) == (
        "line 1: this line has more than 3 MiB, which is the limit; type reader.max_line_mb=... for a larger one"
    )


ONE_LINE = r"""
import re, sys
from papermage_core.errors import DataError
from papermage_core.files import Lines, open_bytes
lines = Lines(open_bytes(sys.argv[1]), 16 << 20)
try:
    next(lines)
except DataError:
    rest = list(lines)
    peak = re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())
    print(len(rest), lines.number, int(peak[1]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_gigabyte_in_one_line_takes_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(1 << 10):
            file.write(bytes(1 << 20))
        file.write(b"\nlast")
    done = subprocess.run([sys.executable, "-c", ONE_LINE, path], capture_output=True, text=True, check=True)
    rest, number, megabytes = map(int, done.stdout.split())
    assert (rest, number) == (1, 2)
    assert megabytes < 200


def test_lines_of_a_compressed_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\ntwo"))
    with open_bytes(path) as file:
        assert list(Lines(file, 100)) == [b"one\n", b"two"]
