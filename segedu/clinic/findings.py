"""What an examination says: findings, each in one line, and the verdict over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

LEVELS = ("ok", "note", "warning", "error")  # by rising gravity
VERDICTS = {"ok": "ok", "note": "ok", "warning": "warnings", "error": "errors"}


@dataclass(frozen=True)
class Finding:
    """Something that was found, in one line, with examples."""

    level: str
    """``note``, ``warning`` or ``error``."""
    kind: str
    """The name of what is wrong, such as ``unusable`` or ``leak``."""
    message: str
    """What was seen."""
    examples: tuple[str, ...] = ()
    healthy: str = ""
    """What is seen where all is well, if that needs saying."""
    cure: str = ""

    def __str__(self) -> str:
        examples = f" ({'; '.join(self.examples)})" if self.examples else ""
        healthy = f"; healthy: {self.healthy}" if self.healthy else ""
        cure = f"; cure: {self.cure}" if self.cure else ""
        return f"{self.level}: {self.message}{examples}{healthy}{cure}"


def verdict_of(findings: Sequence[Finding]) -> str:
    """``ok``, ``warnings`` or ``errors``: that of the gravest."""
    gravest = max((LEVELS.index(finding.level) for finding in findings), default=0)
    return VERDICTS[LEVELS[gravest]]
