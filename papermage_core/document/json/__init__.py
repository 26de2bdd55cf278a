"""Bytes ↔ Document.

`decode` reads: it cuts the long layers out (`cuts`, `pieces`), reads the numbers in them (`records`) and checks them
(`validate`); where that fails, `explain` says what is wrong. `encode` writes.
"""
