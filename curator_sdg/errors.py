"""Errors that a user can act on.

Everything that is wrong with a user's input, files or environment is raised as :class:`SdgError` with one
message that names the file, key or row and what to do. The command line prints the message alone; a bug keeps
its traceback. Messages are the only argument, so the errors survive pickling between Dask processes.
"""

from __future__ import annotations


class SdgError(Exception):
    """Something the user can mend; the message says what and how."""


class ConfigError(SdgError):
    """The configuration file, or an override of it, is wrong."""


class SourceError(SdgError):
    """A source of seeds cannot be loaded; the run goes on without it unless ``seeds.strict``."""


class SplitDenied(SdgError):  # noqa: N818 - reads as the verdict it is
    """A split outside the catalogue was asked for: only catalogued training splits are ever read."""


class TeacherError(SdgError):
    """The teacher cannot be used at all: wrong address, credentials, model or recording."""


class StoreError(SdgError):
    """The run directory is damaged, foreign, read-only or full."""


class LedgerError(SdgError):
    """Rows are unaccounted for: planned is not out + rejected + pending + surplus."""


class Superseded(SdgError):  # noqa: N818
    """A newer start of the same run directory has taken over; this one must stop asking."""


class AskingEnded(SdgError):  # noqa: N818
    """Nothing more is asked of a teacher for now; what was paid for is kept, and the same command goes on."""


class BudgetReached(AskingEnded):
    """``run.max_tokens``, ``run.max_cost`` or ``run.max_hours`` is reached."""


class TeacherFailing(AskingEnded):
    """Too many requests ran out of retries, or no reply has come for too long."""
