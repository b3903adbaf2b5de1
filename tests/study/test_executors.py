"""One contract for executors: same jobs, same counts, whoever does them."""

from dataclasses import replace

import pytest
import torch

from moc.attacks import Attack, Threat
from moc.data.storage import load_set, save_set
from moc.evaluate import make_protocol, select, train
from moc.evaluate.robust import Suite
from moc.evidence.held_out import HeldOut
from moc.evidence.ledger import Ledger
from moc.evidence.reference import reference_records
from moc.study.executors import Inline, Processes, make_executor
from moc.study.jobs import Examine, Score, Workplace


@pytest.fixture(scope="module")
def work(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    ledger = Ledger(None)
    train, held_out = digits.split([300, 40], seed=0)
    info = ledger.own("train", train)
    ledger.own("validation", held_out)
    x, y = reference_records(ledger, "train")
    for seed in range(3):
        chosen = select("random", x, y, info, per_class=2, seed=seed)
        save_set(chosen, folder / f"set-{seed}.safetensors")
    suite = Suite(name="one", attacks=(Attack(name="fgsm", steps=1),))
    protocol = make_protocol("fast", info, Threat(eps=0.1), suite=suite, epochs=5)
    held = {"validation": HeldOut(ledger, "validation")}
    jobs = [
        Score(
            key=f"set-{s}",
            path=folder / f"set-{s}.safetensors",
            held_out="validation",
            seeds=(1, 2),
        )
        for s in range(3)
    ]
    return Workplace(protocol=protocol, held_out=held, device="cpu"), jobs


def results(executor, jobs):
    try:
        return {key: counts.sums for key, counts, _ in executor.run(jobs)}
    finally:
        executor.close()


def test_processes_count_what_this_process_counts(work):
    workplace, jobs = work
    here = results(Inline(workplace), jobs)
    there = results(Processes(workplace, workers=2), jobs)
    assert here.keys() == there.keys() == {"set-0", "set-1", "set-2"}
    assert all(torch.equal(here[key], there[key]) for key in here)
    assert here["set-0"].shape == (2, 2)


def test_an_executor_can_run_again_and_nothing_is_nothing(work):
    workplace, jobs = work
    executor = Inline(workplace)
    first = {key: counts.sums for key, counts, _ in executor.run(jobs[:1])}
    again = {key: counts.sums for key, counts, _ in executor.run(jobs[:1])}
    assert torch.equal(first["set-0"], again["set-0"])
    assert list(executor.run([])) == []


def test_a_suite_of_the_job_replaces_that_of_the_protocol(work):
    workplace, jobs = work
    strong = Suite(name="strong", attacks=(Attack(name="pgd-margin", steps=20),))
    weak = jobs[0].do(workplace).sums
    found = replace(jobs[0], suite=strong).do(workplace).sums
    assert torch.equal(found[:, 0], weak[:, 0])
    assert (found[:, 1] < weak[:, 1]).all()


def test_processes_examine_as_this_process_does_with_networks_that_travel(work):
    workplace, (job, *_) = work
    others = tuple(train(load_set(job.path), workplace.protocol, seed=seed) for seed in (8, 9))
    jobs = [
        Examine(
            key=f"checked-{checked}",
            path=job.path,
            held_out="validation",
            seeds=(1, 2),
            checked=checked,
            transfer_models=others,
        )
        for checked in (True, False)
    ]
    here = {key: found for key, found, _ in Inline(workplace).run(jobs)}
    processes = Processes(workplace, workers=2)
    there = {key: found for key, found, _ in processes.run(jobs)}
    processes.close()
    for key in ("checked-True", "checked-False"):
        assert here[key].checks == there[key].checks
        assert torch.equal(here[key].counts.sums, there[key].counts.sums)
    assert len(here["checked-True"].checks) == 11
    assert here["checked-False"].checks == ()


def test_one_worker_or_a_gpu_means_this_process(work):
    workplace, _ = work
    assert isinstance(make_executor(workplace, workers=1), Inline)
    gpu = Workplace(protocol=workplace.protocol, held_out={}, device="cuda")
    assert isinstance(make_executor(gpu, workers=None), Inline)
