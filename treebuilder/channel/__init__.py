"""Channels: which snapshot of a repository a fleet of devices is to run, and how fast it gets there."""
