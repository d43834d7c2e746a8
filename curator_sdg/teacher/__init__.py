"""The teacher: what is asked, who answers, and the journal of what was answered."""

from curator_sdg.teacher.base import Completion, Failure, Message, Outcome, Refusal, Request
from curator_sdg.teacher.bill import Bill
from curator_sdg.teacher.budget import Budget
from curator_sdg.teacher.dispatch.dispatcher import Dispatcher
from curator_sdg.teacher.dispatch.report import Status
from curator_sdg.teacher.dispatch.teacher import Teacher
from curator_sdg.teacher.journal.segment import read_segment
from curator_sdg.teacher.journal.shard import ShardJournal
from curator_sdg.teacher.journal.usage import Usage, journal_usage
from curator_sdg.teacher.recorded import RecordedTeacher
from curator_sdg.teacher.shared import acquire, make_teacher, release

__all__ = [
    "Bill",
    "Budget",
    "Completion",
    "Dispatcher",
    "Failure",
    "Message",
    "Outcome",
    "RecordedTeacher",
    "Refusal",
    "Request",
    "ShardJournal",
    "Status",
    "Teacher",
    "Usage",
    "acquire",
    "journal_usage",
    "make_teacher",
    "read_segment",
    "release",
]
