"""What exists: Dagster assets, a module for each layer of the lake."""
