"""Finds eligible diagnoses and scores a population on Spark. Importing this module needs pyspark."""

from hccore.distributed.spark import Scored, score
from hccore.distributed.spark_eligibility import EligibleOnSpark, eligible

__all__ = ["EligibleOnSpark", "Scored", "eligible", "score"]
