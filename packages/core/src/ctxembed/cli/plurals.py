"""A number and its noun."""


def counted(number: int, noun: str) -> str:
    """Return both, the noun as the number asks for.

    >>> counted(1, "line"), counted(1200, "line")
    ('1 line', '1,200 lines')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
