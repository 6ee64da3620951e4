"""Loads sql/: table contracts, SQL models, and the steps that build tables from them."""
