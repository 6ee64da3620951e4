"""Deterministic variation: numbers that look irregular and are the same on every machine and Python version."""

from __future__ import annotations

import hashlib
import struct


def noise(key: str, count: int) -> tuple[int, ...]:
    """`count` integers of 0 to 65535 that depend on `key` alone (SHAKE-128 of the key, two bytes each)."""
    return struct.unpack(f"<{count}H", hashlib.shake_128(key.encode()).digest(2 * count))


def token(key: str, length: int) -> str:
    """A lower-case hexadecimal name of `length` digits that depends on `key` alone."""
    return hashlib.shake_128(key.encode()).hexdigest((length + 1) // 2)[:length]


def identifier(key: str) -> str:
    """A name in the form of a UUID that depends on `key` alone."""
    digits = token(key, 32)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
