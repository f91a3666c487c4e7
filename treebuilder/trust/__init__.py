"""Signatures: keys, the signed envelope of a repository's index, and what cosign reads. Pure functions on bytes.

Nothing here reads a clock or a file; `cryptography` is loaded when the first key is.
"""
