"""Views beside a running study: it never waits for them, and says once what goes wrong."""

from threading import Event

import pytest

from moc.errors import StudyError
from moc.views.live import Live


class Fake:
    """A view that does as it is told."""

    kind = "fake"

    def __init__(self):
        self.written, self.wrong = [], ""
        self.may, self.began = Event(), Event()
        self.may.set()

    def reach(self):
        if self.wrong:
            raise StudyError(self.wrong)

    def write(self, study):
        self.began.set()
        assert self.may.wait(60)
        if self.wrong:
            raise StudyError(self.wrong)
        self.written.append(study)
        return "look here"


@pytest.fixture
def fake():
    made = Fake()
    yield made
    made.may.set()


def test_a_study_goes_on_while_a_slow_view_is_written_and_the_end_is_always_written(fake):
    said = []
    live = Live(fake, said.append)
    fake.may.clear()
    live.update("1 trial")
    assert fake.began.wait(60)
    live.update("2 trials")
    fake.may.set()
    assert live.finish("all") == "look here"
    assert fake.written == ["1 trial", "all"]
    assert said == []


def test_a_view_that_cannot_be_written_is_said_before_the_study_and_once(fake):
    said = []
    live = Live(fake, said.append)
    fake.wrong = "nobody answers."
    live.reach()
    live.update("1 trial")
    assert live.finish("all") == ""
    assert said == ["The study goes on without this view of it. nobody answers."]


def test_a_view_that_fails_is_said_once_and_tried_again_at_the_end(fake):
    said = []
    live = Live(fake, said.append)
    fake.wrong = "the database is locked."
    live.update("1 trial")
    live._thread.join()
    live.update("2 trials")
    live._thread.join()
    assert live.finish("all") == ""
    assert said == ["The study goes on without this view of it. the database is locked."]
    fake.wrong = ""
    assert live.finish("all") == "look here"
    assert fake.written == ["all"]


def test_the_end_of_a_study_leaves_a_view_that_never_answers(fake):
    said = []
    live = Live(fake, said.append)
    fake.may.clear()
    live.update("1 trial")
    assert live.finish("all", patience=0.01) == ""
    assert said == [
        "A view (fake) has not answered for 0 s. The study is complete without it; "
        "`moc sync` writes it later."
    ]
