"""How events, errors and results look. Progress goes to stderr, results to stdout."""
