"""The demo company Acme: deliveries of its bills, GPU telemetry and token logs, the same bytes on every run."""
