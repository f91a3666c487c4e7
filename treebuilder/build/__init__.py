"""Executes plans: nodes are built, artifacts packed and written, each once and under its key."""
