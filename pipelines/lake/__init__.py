"""The lakehouse on disk: landing, Delta tables, audits, publications, locks."""
