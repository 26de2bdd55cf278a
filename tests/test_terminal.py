from __future__ import annotations

import ast
import json
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.terminal import printable

DANGEROUS = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs")}
TEXT = st.text(st.one_of(st.characters(), st.sampled_from(sorted(DANGEROUS)), st.sampled_from('\\"{}\n')))


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    left = set(printable("".join(DANGEROUS) + "\u2028\u2029"))
    assert left == set("\n\\ux0123456789abcdef")


@given(TEXT)
def test_what_is_harmless_stays_and_every_escape_can_be_read_back(text: str) -> None:
    shown = printable(text)
    assert shown.count("\n") == text.count("\n")
    assert printable(shown) == shown
    if not set(text) & (DANGEROUS - {"\n"}) and not set(text) & {"\u2028", "\u2029"}:
        assert shown == text
    elif "\\" not in text and '"' not in text:
        read = ast.literal_eval('"""' + shown + '"""')
        assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_json_stays_json_of_the_same_content(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        expected = json.loads(json.dumps(value))  # which joins surrogates that stand side by side
        assert json.loads(printable(text)) == expected


SCRIPT = r"""
import logging, sys
from papermage_core.cli import _shell
evil = "\x1b[2J\u202e\x9b31m\ud800"
def body():
    _shell.say(evil)
    logging.getLogger("papermage_core.x").warning("logged %s", evil)
    try:
        raise ValueError(evil)
    except ValueError:
        logging.getLogger("papermage_core.x").exception("with a traceback")
    raise RuntimeError(evil)
code = _shell.run(body, debug=True, prog=evil)
try:
    _shell.command_parser("x", "y").parse_args([evil])
except SystemExit:
    pass
"""


def test_whatever_a_command_prints_or_logs_passes_through_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    shown = r"\x1b[2J\u202e\u009b31m\ud800"
    out, err = done.stdout.decode(), done.stderr.decode()
    assert out == shown + "\n"
    assert err.count(shown) == 6
    assert not set(out + err) & (DANGEROUS - {"\n"})


@pytest.mark.parametrize("text", ["", "plain", "naïve 名\n", "a\u00a0b", "👩"])
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text
