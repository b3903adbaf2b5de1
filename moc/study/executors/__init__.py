"""Where jobs are done: in this process, or in several side by side."""

from moc.study.executors.base import EXECUTORS, Done, Executor, ExecutorPart

__all__ = ["EXECUTORS", "Done", "Executor", "ExecutorPart"]
