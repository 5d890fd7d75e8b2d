"""The public name of `hccore.distributed.buckets`: a run in buckets, on any engine that deals members out."""

from hccore.distributed.buckets import Job, prepare

__all__ = ["Job", "prepare"]
