"""Worked examples of what apportion reads."""
