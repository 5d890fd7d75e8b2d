"""Scores a population in buckets, on any engine that distributes rows: `prepare`, `Job.score`, `Job.combine`."""

from hccore.distributed.buckets import Job, prepare

__all__ = ["Job", "prepare"]
