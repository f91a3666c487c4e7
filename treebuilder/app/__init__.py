"""Use cases and settings: the one place that wires concrete classes together."""
