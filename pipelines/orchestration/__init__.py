"""All that knows Dagster, apart from the assets themselves."""
