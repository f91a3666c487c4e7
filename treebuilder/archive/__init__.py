"""Archives as streams: canonical tars out, safe extraction in. Only this room opens tar files."""
