"""Texts in two languages, written ``English ｜ 中文``, with a full-width bar between the halves."""

from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
BAR = "｜"


def halves(text: str) -> dict[Language, str] | None:
    """Splits ``English ｜ 中文`` at its bar, or returns None where there is no bar."""
    if BAR not in text:
        return None
    english, chinese = (half.strip() for half in text.split(BAR, 1))
    return {"en": english, "zh": chinese}


def plain(text: str, edition: str) -> str:
    """The text for `edition` where no markup is possible (attributes, config values)."""
    split = halves(text)
    if split is None:
        return text
    return f"{split['en']} · {split['zh']}" if edition == "both" else split[edition]
