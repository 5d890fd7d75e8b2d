"""The kernels agree with the reference on random models.

Published models use only some of the rules, groups, conditions and hierarchies that the table format allows.
Random models use all of them, with up to 130 categories, so that their bits fill one, two or three 64-bit words.
Some random tables are invalid. They are skipped.
"""

import shutil
import tempfile
from pathlib import Path
from random import Random

from hypothesis import Phase, assume, given, settings, strategies as st

from hccore import TableError
from hccore.member.explanation import explain
from tests.support import Person, all_scores, tables_of, thousandths, trace
from tests.support_random_models import make_model, some

Term = tuple[str, int | None, tuple[str, ...], str]  # variable, coefficient, codes, what dropped it


# No shrinking: it takes minutes for a whole model and helps little.
@settings(max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(random=st.randoms(use_true_random=False))
def test_kernels_agree_with_the_reference_on_any_model(random: Random):
    root = Path(tempfile.mkdtemp())
    try:
        model, codes = make_model(random, root)
    except TableError:
        assume(False)
    finally:
        shutil.rmtree(root)
    people: list[Person] = [
        ({"age": random.randint(0, 90), "sex": random.randint(1, 2)}, some(random, codes, 6))
        for _ in range(12)
    ]
    people *= 2  # the second half finds remembered results
    tables = model.tables
    everything = model.score(*tables_of(people), all_segments=True).scores.to_pylist()
    result = model.score(*tables_of(people))
    total: dict[str, int] = {}
    terms: dict[str, list[Term]] = {}
    for term in result.contributions().to_pylist():
        amount = thousandths(term["coefficient"] or 0)
        total[term["member_id"]] = total.get(term["member_id"], 0) + amount
        coefficient = None if term["coefficient"] is None else amount
        entry = (term["variable"], coefficient, tuple(sorted(term["codes"])), term["dropped_by"] or "")
        terms.setdefault(term["member_id"], []).append(entry)
    for (facts, mine), row, chosen in zip(people, everything, result.scores.to_pylist(), strict=True):
        found = trace(tables, facts, mine)
        scores = all_scores(tables, found)
        assert [thousandths(row["SCORE_ONE"]), thousandths(row["SCORE_TWO"])] == scores
        assert row["hccs"] == chosen["hccs"] == found.hccs(tables)
        assert thousandths(chosen["raw_score"]) == scores[facts["sex"] - 1]
        assert total.get(chosen["member_id"], 0) == scores[facts["sex"] - 1]
        explained = model.explain(facts, mine)
        assert explained.score == scores[facts["sex"] - 1]
        assert sum(part.coefficient or 0 for part in explained.contributions) == explained.score
        reference = explain(tables, facts, {"icd10cm": mine})
        assert set(explained.contributions) == set(reference.contributions)
        listed = [
            (part.variable, part.coefficient, tuple(sorted(part.codes)), part.dropped_by)
            for part in reference.contributions
        ]
        assert sorted(terms.get(chosen["member_id"], []), key=str) == sorted(listed, key=str)
