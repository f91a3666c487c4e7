"""Runs jobs in containers. Knows nothing of packages: a base, commands and limits go in, a layer comes out."""
