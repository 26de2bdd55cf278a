"""The page at ``/``: a form whose answer, the view of the documents, is shown below it. It has no script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape

from papermage_core.serving.messages import RequestError

__all__ = ["PAGE_POLICY", "error_page", "front_page", "front_policy"]

_STYLE = """
:root { color-scheme: light dark; } * { box-sizing: border-box; }
body { margin: 0; height: 100vh; display: flex; flex-direction: column; font: 15px/1.5 system-ui, sans-serif; }
header, form { padding: .4rem 1rem; } h1 { font-size: 1.1rem; margin: .3rem 0; } p { margin: .2rem 0; }
form { display: flex; gap: .8rem; align-items: stretch; flex-wrap: wrap; }
label { display: flex; flex-direction: column; flex: 1 1 16rem; font-weight: 600; }
textarea { font: inherit; font-weight: 400; min-height: 6rem; resize: vertical; }
input[type=file] { flex: 1; min-height: 6rem; padding: 2rem 1rem; border: 2px dashed GrayText; border-radius: 6px; }
button { font: inherit; font-weight: 600; padding: .4rem 1.4rem; align-self: end; }
iframe { flex: 1; min-height: 20rem; border: 0; border-top: 1px solid GrayText; width: 100%; }
code { overflow-wrap: anywhere; }
"""
_DIGEST = f"'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
_COMMON = f"default-src 'none'; style-src {_DIGEST}; base-uri 'none'"
_MOST_LABELS = 50
PAGE_POLICY = "sandbox allow-scripts; frame-ancestors 'self'"
"""Of the view of documents, beside what it says itself: nothing in it has to do with this server."""


def front_policy(answers: bool = False) -> str:
    """Return the content security policy of the page, or of the answers that it shows."""
    if answers:
        return f"{_COMMON}; form-action 'none'; frame-ancestors 'self'"
    return f"{_COMMON}; form-action 'self'; frame-src 'self'; frame-ancestors 'none'"


def front_page(labels: Sequence[str], most: str) -> str:
    """Return the page of a server that finds these labels, and takes files of at most so many pages and bytes."""
    more = ", …" if len(labels) > _MOST_LABELS else ""
    finds = escape(", ".join(labels[:_MOST_LABELS])) + more
    return _HTML.format(style=_STYLE, finds=finds, most=escape(most))


def error_page(problem: RequestError) -> str:
    """Return what the page shows of a request that is not answered."""
    said = "".join(f"<p>{escape(part)}</p>" for part in (problem.where, problem.what, problem.do) if part)
    return _ERROR.format(style=_STYLE, status=problem.status, said=said)


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>papermage</title><style>{style}</style></head><body>
<header><h1>Entities in scientific documents</h1><p>This model finds: {finds}</p></header>
<form method="post" action="predict?output=page" enctype="multipart/form-data" target="found">
<label>Text <textarea name="text" placeholder="Paste a text"></textarea></label>
<label>or a file ({most}) <input type="file" name="file" accept=".pdf,.txt,.json,.jsonl"></label>
<button>Find</button>
</form>
<iframe name="found" title="What was found" sandbox="allow-scripts"></iframe>
</body></html>
"""
_ERROR = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status}</title><style>{style}</style></head>
<body><header><h1>This could not be read</h1>{said}</header></body></html>
"""
