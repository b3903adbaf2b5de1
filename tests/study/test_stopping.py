"""Being stopped: what is being written is finished, workers leave, and a sentence says how on."""

import os
import signal
import sys
import threading
from multiprocessing import forkserver
from pathlib import Path

import pytest
from processes import alive, below, wait_until
from tiny import TINY

from moc import cli
from moc.study import config
from moc.study.stopping import Stopped, signals_held, stoppable


def command(tables, place):
    """Let a process of its own run `moc study`; gives its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        forkserver._forkserver.__init__()  # that of the tests is no child of this process
        # Tests that run in the background of a shell inherit that this signal is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(place / "errors", os.O_WRONLY | os.O_CREAT), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for good
        config.load_config = lambda *_, **__: config.parse_config(tables, where="test")
        sys.argv[1:] = ["study", "x.toml", "--no-mlflow", "--runs", str(place / "runs")]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.stderr.flush()
        os._exit(code)


def test_a_signal_waits_until_what_is_being_written_is_written():
    done = []

    def write():
        with stoppable(), signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("written")

    with pytest.raises(Stopped) as caught:
        write()
    assert done == ["written"]
    assert caught.value.number == signal.SIGTERM


def test_a_signal_that_another_thread_takes_waits_too():
    """The handler runs in the main thread, whoever took the signal, masked there or not."""
    done, number = [], signal.SIGTERM

    def take():  # a thread starts with the mask of the one that started it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        signal.pthread_kill(threading.get_ident(), number)

    def write():
        with stoppable(), signals_held():
            taker = threading.Thread(target=take)
            taker.start()
            taker.join()
            for _ in range(1000):  # long enough for the handler to run
                pass
            done.append("written")

    with pytest.raises(Stopped):
        write()
    assert done == ["written"]


def test_an_ignored_signal_stays_ignored_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    known = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not before
    finally:
        signal.signal(signal.SIGHUP, known)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_a_thread_nothing_changes():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def look():
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


def read(path):
    return path.read_bytes() if path.exists() else b""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGTERM, 2), (signal.SIGINT, 1), (signal.SIGHUP, 1), (signal.SIGKILL, 2)],
)
def test_no_worker_outlives_its_study_and_the_command_says_how_to_go_on(tmp_path, number, workers):
    tables = {
        **TINY,
        "executor": {"kind": "local", "workers": workers, "time_limit": 600.0},
        "data": {**TINY["data"], "reference": 0},
        "evaluate": {**TINY["evaluate"], "replicates": 200, "report_replicates": 0},
    }
    ledger = tmp_path / "runs" / "tiny" / "study.jsonl"
    study = command(tables, tmp_path)
    assert wait_until(lambda: not alive(study) or b'"condensed"' in read(ledger), 120)
    its = below(study)
    assert len(its) >= workers
    if number in (signal.SIGINT, signal.SIGHUP):
        os.killpg(study, number)  # as a terminal does
    else:
        os.kill(study, number)
    code = os.waitstatus_to_exitcode(os.waitpid(study, 0)[1])
    assert wait_until(lambda: not any(map(alive, its)), 20)
    errors = (tmp_path / "errors").read_text()
    assert "Traceback" not in errors
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == 128 + number
        assert errors.splitlines()[-1] == (
            "moc: stopped; the same command takes a study up where it was left."
        )
