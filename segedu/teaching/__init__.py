"""What teachers and learners use: checks of exercises."""

from segedu.teaching.checking import Verdict, check

__all__ = ["Verdict", "check"]
