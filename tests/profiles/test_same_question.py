"""Items of which the same is known: one question, one payment, and a profile for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from openai_server import serve

from recbole_darec.profiles.dry_run import dry_run
from recbole_darec.profiles.inputs import Material, read_material

from .small_shop import make, plan_for, total, write_shop

N_ITEMS, N_USERS = 20, 12


@pytest.fixture
def material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Material:
    """Every item is called "Greatest Hits", and nobody wrote a review."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    folder = write_shop(tmp_path, n_users=N_USERS, n_items=N_ITEMS)
    rows = [f"i{n}\tGreatest Hits\t\t\n" for n in range(N_ITEMS)]
    header = "item_id:token\ttitle:token_seq\tdescription:token_seq\tcategories:token_seq\n"
    (folder / "shop.item").write_text(header + "".join(rows), encoding="utf-8")
    (folder / "shop.reviews.jsonl").unlink()
    return read_material("shop", str(tmp_path))


@pytest.mark.parametrize("batch", [False, True])
def test_the_same_question_is_paid_once_and_answers_all(
    material: Material, tmp_path: Path, batch: bool
) -> None:
    with serve() as server:
        plan = plan_for(server.base_url, tmp_path, batch=batch, poll_seconds=0.05)
        assert re.search(r"items +1 +0 +1 ", dry_run(material, plan))
        report = make(material, plan)
        again = make(material, plan)
        paid = server.log.prompt_tokens
    assert report.complete
    assert set(report.texts["item"]) == {f"i{n}" for n in range(N_ITEMS)}
    assert len(set(report.texts["item"].values())) == 1
    # Every user has four items called the same, with the same profile.
    assert set(report.texts["user"]) == {f"u{n}" for n in range(N_USERS)}
    assert total(report, "prompts") == total(report, "answered") == 2
    assert total(report, "shared") == N_ITEMS - 1 + N_USERS - 1
    assert total(report, "prompt_tokens") == paid
    assert again.texts == report.texts
    assert total(again, "before") == 2
    assert total(again, "requests") == 0
