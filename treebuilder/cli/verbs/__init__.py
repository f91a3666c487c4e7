"""The verbs: each module has `configure(parser)` and `run(args, session) -> int`."""
