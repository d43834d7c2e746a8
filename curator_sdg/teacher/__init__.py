"""The teacher: what is asked, who answers, and the journal of what was answered."""

from curator_sdg.teacher.base import Completion, Failure, Message, Outcome, Refusal, Request, Teacher
from curator_sdg.teacher.dispatch import Dispatcher, Progress
from curator_sdg.teacher.journal import ShardJournal, read_segment
from curator_sdg.teacher.recorded import RecordedTeacher
from curator_sdg.teacher.shared import acquire, make_teacher, release

__all__ = [
    "Completion",
    "Dispatcher",
    "Failure",
    "Message",
    "Outcome",
    "Progress",
    "RecordedTeacher",
    "Refusal",
    "Request",
    "ShardJournal",
    "Teacher",
    "acquire",
    "make_teacher",
    "read_segment",
    "release",
]
