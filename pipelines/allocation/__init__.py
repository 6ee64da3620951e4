"""The rule language and what it splits; knows neither Dagster nor a vendor."""
