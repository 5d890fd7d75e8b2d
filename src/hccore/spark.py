"""Scores a population on Spark. Importing this module needs pyspark."""

from hccore.distributed.spark import Scored, score

__all__ = ["Scored", "score"]
