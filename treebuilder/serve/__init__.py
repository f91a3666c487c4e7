"""Servers of our own: an OCI registry over a folder."""
