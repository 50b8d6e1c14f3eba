"""Durations for people."""


def show_span(seconds: float) -> str:
    """Return a duration in words."""
    return f"{seconds:.1f} s"
