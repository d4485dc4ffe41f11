"""Cuts ICC profiles to the length that their header states.

Source: ICC.1:2022, section 7.2.
"""

_SIGNATURE, _SIGNATURE_AT = b"acsp", 36
_MIN_BYTES = 128 + 4  # the header and the number of tags


def sound_profile(profile: bytes) -> bytes:
    """Return an ICC profile, from outside, up to the length that its header says; empty if it is no profile."""
    length = int.from_bytes(profile[:4], "big")
    is_profile = profile.startswith(_SIGNATURE, _SIGNATURE_AT) and length >= _MIN_BYTES
    return profile[:length] if is_profile else b""
