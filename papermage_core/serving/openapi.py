"""What ``/predict`` takes and gives, with examples, for ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["OUTPUTS", "described"]

OUTPUTS = ("entities", "documents", "page")
_TEXT = "Mutations in ATM cause ataxia-telangiectasia."
_DOCUMENT = {
    "symbols": _TEXT,
    "metadata": {"doc_id": "a1"},
    "entities": {
        "tokens": [{"spans": [[0, 9]]}, {"spans": [[10, 12]]}, {"spans": [[13, 16]]}],
        "pages": [{"spans": [[0, 45]]}],
    },
}
_FOUND = {
    "documents": [
        {
            "id": "a1",
            "entities": [
                {"label": "Disease", "text": "ataxia-telangiectasia", "score": 0.98, "spans": [[23, 44]]},
            ],
        }
    ]
}
_ERROR = {
    "error": {
        "status": 422,
        "what": "`symbols` should be a string, got a number",
        "where": "documents[1]",
        "do": "expected string",
    }
}
_ENTITY = {
    "type": "object",
    "required": ["label", "text", "spans"],
    "properties": {
        "label": {"type": "string"},
        "text": {"type": "string"},
        "score": {"type": "number", "description": "the probability that the entity is right"},
        "spans": {
            "type": "array",
            "description": "half-open places in the text, in characters (code points)",
            "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        },
        "boxes": {
            "type": "array",
            "description": "left, top, width and height in shares of the page, and the page from 0",
            "items": {"type": "array", "items": {"type": "number"}, "minItems": 5, "maxItems": 5},
        },
    },
}
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "status": {"type": "integer"},
                "what": {"type": "string", "description": "what is wrong"},
                "where": {"type": "string", "description": "where"},
                "do": {"type": "string", "description": "what to do"},
            },
        }
    },
}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR_SCHEMA, "example": _ERROR}}}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


_PREDICT: dict[str, Any] = {
    "summary": "Predict",
    "description": "Find entities in papermage documents, in text, or in a PDF.",
    "operationId": "predict",
    "parameters": [
        _query(
            "output",
            "entities: what was found; documents: the papermage documents with a layer of it; page: a page of HTML",
            {"type": "string", "enum": list(OUTPUTS), "default": "entities"},
        ),
        _query(
            "min_score",
            "leave out entities scored below; min_score.LABEL=0.8: those of that label",
            {"type": "number", "minimum": 0, "maximum": 1},
        ),
        _query("merge", "false: an entity for each unit, with its tag", {"type": "boolean", "default": True}),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {
                    "text": {"value": {"text": _TEXT, "id": "a1"}},
                    "document": {"value": _DOCUMENT},
                    "several": {"value": {"documents": [_DOCUMENT, {"text": _TEXT}]}},
                },
            },
            "application/jsonl": {"schema": {"type": "string"}, "example": '{"text": "one"}\n{"text": "two"}\n'},
            "text/plain": {"schema": {"type": "string"}, "example": _TEXT},
            "application/pdf": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "a PDF, text or JSON"},
                        "text": {"type": "string", "description": "in its place"},
                    },
                }
            },
        },
    },
    "responses": {
        "200": {
            "description": "What was found, document by document, in order",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "documents": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "properties": {
                                        "id": {"type": ["string", "null"]},
                                        "entities": {"type": "array", "items": _ENTITY},
                                    },
                                },
                            }
                        },
                    },
                    "example": _FOUND,
                },
                "text/html": {"schema": {"type": "string"}},
            },
        },
        "400": _error("The body is damaged: it is not JSON, not UTF-8, or ends too early"),
        "408": _error("The body did not come in time"),
        "413": _error("It is too large: bytes, documents, characters, units or pages"),
        "415": _error("Nobody here reads this type of content"),
        "422": _error("The document cannot be used"),
        "503": _error("Too many requests are waiting, or time is up; see the header Retry-After"),
    },
}


def described(app: FastAPI, labels: Sequence[str]) -> dict[str, Any]:
    """Return what an application offers that finds these labels."""
    finds = ", ".join(labels[:50]) or "see /"
    return app.openapi() | {
        "info": {**app.openapi()["info"], "description": f"Entities in scientific documents: {finds}"},
        "paths": {"/predict": {"post": _PREDICT}, **app.openapi()["paths"]},
    }
