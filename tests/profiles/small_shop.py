"""A data set with texts, as ``recbole-darec prepare`` writes it, small enough for a moment."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from recbole_darec.data.store import store_path
from recbole_darec.llm.client import Server
from recbole_darec.profiles.domains import read_domain
from recbole_darec.profiles.generate import Generation
from recbole_darec.profiles.inputs import Material, read_material
from recbole_darec.profiles.make import Plan, ProfileReport, generate_profiles

MODEL = "gpt-4o-mini"


def write_shop(data_path: Path, n_users: int = 12, n_items: int = 20) -> Path:
    """Write ``shop``: every user has four training items, one for validation, one for test."""
    folder = data_path / "shop"
    folder.mkdir(parents=True)
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "valid": [], "test": []}
    for user in range(n_users):
        for place in range(6):
            part = "train" if place < 4 else ("valid", "test")[place - 4]
            parts[part].append((f"u{user}", f"i{(user * 3 + place * 7) % n_items}"))
    for part, pairs in parts.items():
        lines = [f"{user}\t{item}\n" for user, item in pairs]
        (folder / f"shop.{part}.inter").write_text(
            "user_id:token\titem_id:token\n" + "".join(lines), encoding="utf-8"
        )
    rows = [
        f"i{n}\tThing number {n}\t{'' if n % 3 == 0 else f'A description of thing {n}.'}\tA|B\n"
        for n in range(n_items)
    ]
    header = "item_id:token\ttitle:token_seq\tdescription:token_seq\tcategories:token_seq\n"
    (folder / "shop.item").write_text(header + "".join(rows), encoding="utf-8")
    with (folder / "shop.reviews.jsonl").open("w", encoding="utf-8") as file:
        for part, pairs in parts.items():
            for user, item in pairs:
                row = {"user_id": user, "item_id": item, "review": f"{part}: {user} on {item}"}
                file.write(json.dumps(row) + "\n")
    (folder / "shop.yaml").write_text(
        "USER_ID_FIELD: user_id\nITEM_ID_FIELD: item_id\nload_col:\n"
        "  inter: [user_id, item_id]\nbenchmark_filename: [train, valid, test]\n",
        encoding="utf-8",
    )
    return folder


def shop(data_path: Path, **size: int) -> Material:
    """Write the data set and read it."""
    write_shop(data_path, **size)
    return read_material("shop", str(data_path))


def plan_for(base_url: str, folder: Path, server: dict | None = None, **options: object) -> Plan:
    """A plan with quick retries; ``options`` are those of Generation or of Plan."""
    of_model = {
        name: options.pop(name) for name in list(options) if name in Generation.model_fields
    }
    patience = {"retries": 3, "timeout": 20.0, "concurrency": 8, **(server or {})}
    return Plan(
        domain=read_domain("general"),
        generation=Generation(**{"model": MODEL, **of_model}),
        store=store_path(folder, "shop"),
        server=Server(base_url=base_url, **patience),
        **options,
    )


def make(material: Material, plan: Plan) -> ProfileReport:
    """Make the profiles, saying nothing."""
    return generate_profiles(material, plan, say=lambda line: None)


def total(report: ProfileReport, name: str) -> int:
    """A count over both kinds of prompt."""
    return sum(getattr(tally, name) for tally in report.tallies.values())


def reasons(report: ProfileReport) -> Counter[str]:
    """Why prompts failed."""
    return sum((tally.reasons for tally in report.tallies.values()), Counter())
