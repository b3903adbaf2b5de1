"""Passes over T as tests make them: by this process, or by workers of which one is killed."""

import torch

from moc.lines import from_line
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans
from moc.study import passes
from moc.study.executors import EXECUTORS


def pass_over(data, folder, *, ladder=None, executor=None):
    """Draw sums over `data`; gives them with the events of the ledger."""
    ledger = Ledger(ladder and Budget(epsilon=8.0), path=folder / "privacy.jsonl")
    info = ledger.own("train", data)
    networks = (parse_network("convnet2-w8"),)
    bank = Bank(info=info, networks=networks, seed=0)
    collection = Collection(bank=bank, networks=2, statistics=(ClassMeans(),))
    part = EXECUTORS.make(executor or {"kind": "local", "workers": 1})
    workers = passes.workers_for(part, device="cpu", work=10**9)
    assert (workers is None) == (executor is None)
    found = draw(ledger, collection, ladder, folder=folder / "release", workers=workers)
    lines = (folder / "privacy.jsonl").read_bytes().splitlines(True)
    return found, [(e["event"], e["key"]) for e in map(from_line, lines)]


def dies_at(monkeypatch, worker, number, kill):
    """Let workers of a kind be killed when they have been given their job of this number."""
    given, begin = [], worker.begin

    def begin_and_die(self, job):
        given.append(job.key)
        begin(self, job)
        if len(given) == number:
            kill(self)

    monkeypatch.setattr(worker, "begin", begin_and_die)
    return given


def shards_count_once(data, others, folder, given, executor):
    """Compare a pass on workers, one of which is killed, with one here; both are drawn once."""
    (folder / "here").mkdir()
    (folder / "there").mkdir()
    (expected,), _ = pass_over(data, folder / "here")
    (found,), events = pass_over(others, folder / "there", executor=executor)
    assert torch.equal(found.blocks["class-means"], expected.blocks["class-means"])
    assert expected.blocks["class-means"].abs().sum() > 0
    assert len(given) == len(set(given)) + 1, "one shard was begun twice"
    assert events == [("reserved", "release/0"), ("finished", "release/0")]
