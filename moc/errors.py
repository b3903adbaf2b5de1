"""What moc raises. A message says what was expected, what was found, and what to do."""


class MocError(Exception):
    """Something that the user can mend; the command line prints it without a traceback."""


class DataError(MocError):
    """A data set that cannot be used as it is."""


class StudyError(MocError):
    """A study file, or a study folder, that does not fit."""


class NotFiniteError(MocError):
    """Numbers of a trial that are infinite or not numbers any more; the trial has failed."""


class PolicyError(MocError):
    """No trial, or no sensible one, satisfies what was asked."""


class PrivacyError(MocError):
    """An access to private records that the ledger refuses."""


class BudgetExceededError(PrivacyError):
    """An access that would cost more than the budget has left."""
