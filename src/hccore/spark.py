"""The public name of `hccore.distributed.spark`: a run on Spark."""

from hccore.distributed.spark import Scored, score

__all__ = ["Scored", "score"]
