"""Recodes: categories that CMS's software clears before the hierarchies."""

from __future__ import annotations

from hccore.base.errors import TableError
from hccore.tables.importer.medicare.release import Release


def add_recodes(release: Release) -> None:
    """Add the `recodes` that the catalogue lists for the model. CMS's tables do not contain them."""
    folder = release.folder
    known = {*folder.variables, *folder.groups}
    for recode in release.entry.model.get("recodes", ()):
        for key in ("when", "unless", "clears"):
            for name in recode.get(key, "").split():
                if name not in known:
                    raise TableError(
                        f"a recode of {folder.model} names {name}, which the release does not have",
                        "sources.toml",
                        column=key,
                    )
        folder.add_rule(
            "before", "", when=recode["when"], unless=recode.get("unless", ""), clears=recode["clears"]
        )
