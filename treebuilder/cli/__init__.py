"""One file per verb: typed arguments, a use case of `app`, a result on stdout. No logic."""
