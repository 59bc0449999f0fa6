"""What teachers and learners use: checks of exercises, and results of long trainings."""

from segedu.teaching.checking import Verdict, check
from segedu.teaching.records import recorded

__all__ = ["Verdict", "check", "recorded"]
