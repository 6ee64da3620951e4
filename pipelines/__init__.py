"""How data moves: the code location that Dagster loads, and the plain Python under it."""
