"""Domains: those of the package are whole, one's own are read, and malformed ones are told."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from recbole_darec.errors import OptionError
from recbole_darec.profiles.domains import Domain, domain_names, read_domain
from recbole_darec.profiles.spec import Column, ProfileSpec
from recbole_darec.profiles.template import item_profile, template_profiles, user_profile
from recbole_darec.resources import properties_dir

from .small_shop import shop

SHIPPED = ["books", "businesses", "games", "general", "movies"]
DOMAINS = pytest.mark.parametrize("name", SHIPPED)
KINDS = pytest.mark.parametrize("kind", ["item", "user"])


def test_the_domains_of_the_package() -> None:
    assert domain_names() == SHIPPED


@DOMAINS
@KINDS
def test_an_instruction_says_the_limit_and_the_form_of_the_answer(name: str, kind: str) -> None:
    domain = read_domain(name)
    text = domain.instruction(kind, 123)
    assert text.count("123 words") == 1
    assert "{max_words}" not in text
    assert text == text.strip()
    form = text.splitlines()[-1]
    assert set(json.loads(form)) == {"summarization", "reasoning"}
    assert domain.columns["item_noun"] in text or name == "general"


@KINDS
def test_every_domain_has_words_of_its_own(kind: str) -> None:
    assert len({read_domain(name).instruction(kind, 100) for name in SHIPPED}) == len(SHIPPED)


@DOMAINS
def test_an_item_instruction_explains_what_a_prompt_holds(name: str) -> None:
    domain = read_domain(name)
    for key in ("title", "description", "attributes", "reviews"):
        assert f'"{key}"' in domain.item_instruction
    for key in ("title", "description", "review"):
        assert f'"{key}"' in domain.user_instruction


@DOMAINS
def test_articles_fit_the_nouns(name: str) -> None:
    """A noun put into a sentence that was made for another."""
    domain = read_domain(name)
    for text in (domain.item_instruction, domain.user_instruction):
        wrong = re.findall(r"\b[Aa] (?:[aeio]\w*)|\b[Aa]n (?:[^aeiou\W]\w*)", text)
        assert not wrong, wrong


@DOMAINS
def test_every_column_of_a_domain_is_told_by_its_template(name: str) -> None:
    domain = read_domain(name)
    settings = domain.columns
    items = dict.fromkeys(settings.get("year", ()), "1999")
    items |= {column: f"Some {column}" for column in settings["title"]}
    items |= {column: f"One{sign}Two" for column, sign in settings["categories"].items()}
    items |= {column.name: f"of {column.name}" for column in settings["item_columns"]}
    users = {column.name: "30" if column.bins else "M" for column in settings["user_columns"]}
    spec = domain.spec(list(items), list(users))
    told = item_profile(items, spec)
    assert f"Some {settings['title'][0]}" in told
    assert spec.item_noun in told
    assert f"{spec.category_noun} One, Two" in told
    for column in settings["item_columns"]:
        assert f"of {column.name}" in told
    of_user = user_profile(users, ["i"], [5.0], {"i": items}, spec)
    assert spec.user_noun in of_user
    assert f"Some {settings['title'][0]}" in of_user
    for column in settings["user_columns"]:
        phrase = column.render(users, spec.unknown)
        assert phrase
        assert phrase in of_user


@DOMAINS
def test_the_template_of_every_domain_works_on_a_data_set(name: str, tmp_path: Path) -> None:
    material = shop(tmp_path)
    domain = read_domain(name)
    report = template_profiles(material, domain)
    assert list(report.texts["item"]) == list(material.items.ids)
    assert list(report.texts["user"]) == list(material.users.ids)
    assert report.texts["item"]["i1"].startswith("Thing number 1. A")
    nouns = {"business": "businesses"}.get(noun := domain.columns["item_noun"], f"{noun}s")
    assert f"Favourite {nouns}: " in report.texts["user"]["u0"]


@DOMAINS
def test_without_any_column_the_template_says_what_it_is(name: str) -> None:
    spec = read_domain(name).spec([], [])
    assert item_profile({}, spec) in (f"A {spec.item_noun}.", f"An {spec.item_noun}.")


def test_the_first_column_that_is_there_counts() -> None:
    domain = read_domain("general")
    assert domain.column("title", ["name", "title", "x"]) == "title"
    assert domain.column("title", ["x", "name"]) == "name"
    assert domain.column("title", ["x"]) is None
    assert domain.column("nonsense", ["title"]) is None
    spec = domain.spec(["tags", "genre"], [])
    assert (spec.categories, spec.separator) == ("tags", ",")
    assert domain.spec(["genre"], []).separator is None, "a blank separates by white space"


# -- one's own ------------------------------------------------------------------------------------


def own(tmp_path: Path, columns: str | None = None, name: str = "wines") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "item.md").write_text("Say it in {max_words} words: {x} é\n", encoding="utf-8")
    (folder / "user.md").write_text("\ufeffOf a drinker.\n\n", encoding="utf-8")
    if columns is not None:
        (folder / "domain.yaml").write_text(columns, encoding="utf-8")
    return folder


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    columns = (
        "item_noun: wine\ntitle: label\nunknown: [N/A]\nliked_from: 90\n"
        "item_columns: [{name: region, phrase: 'from {}', values: {FR: France}, words: 2}]\n"
    )
    domain = read_domain(str(own(tmp_path, columns)))
    assert domain.name == "wines"
    assert domain.instruction("item", 7) == "Say it in 7 words: {x} é"
    assert domain.instruction("user", 7) == "Of a drinker."
    spec = domain.spec(["label", "region"], [])
    assert spec == ProfileSpec(
        item_noun="wine",
        title="label",
        unknown=frozenset({"n/a"}),
        liked_from=90,
        item_columns=(Column("region", "from {}", {"FR": "France"}, (), 2),),
    )
    assert item_profile({"label": "n/a", "region": "FR"}, spec) == "A wine. from France."


def test_without_a_domain_yaml_columns_mean_what_they_mean_in_general(tmp_path: Path) -> None:
    assert read_domain(str(own(tmp_path))).columns == read_domain("general").columns
    assert read_domain(str(own(tmp_path, "", "empty"))).columns.keys() <= {
        "item_columns", "user_columns"
    }  # fmt: skip


def test_a_copy_of_a_shipped_domain_is_the_same(tmp_path: Path) -> None:
    shutil.copytree(properties_dir() / "prompts" / "books", tmp_path / "books")
    assert read_domain(str(tmp_path / "books")) == read_domain("books")


def test_a_folder_that_happens_to_have_a_domains_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "games").mkdir()
    assert read_domain("games").instruction("item", 9).startswith("You write profiles")
    own(tmp_path, name="books")
    assert read_domain("books").instruction("user", 9) == "Of a drinker.", "this one is a domain"
    own(tmp_path, name="wines")
    assert read_domain("wines").name == "wines"


def test_home_and_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_domain("~/wines").name == "wines"
    monkeypatch.chdir(folder)
    assert read_domain(".").name == "wines"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("moovies", ("'moovies'", "'movies'?", "books, businesses, games, general, movies")),
        ("quarks", ("'quarks'", "item.md")),
        ("here/there", ("--domain=here/there", "no folder")),
        ("~nobody-of-this-name/x", ("--domain=", "no folder")),
        ("/", ("item.md",)),
    ],
)
def test_a_domain_that_is_not_there(
    name: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as caught:
        read_domain(name)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("file", ["item.md", "user.md"])
@pytest.mark.parametrize("content", [None, b"", b" \n", "größer".encode("latin-1")])
def test_an_instruction_that_is_missing_empty_or_no_utf8(
    tmp_path: Path, file: str, content: bytes | None
) -> None:
    path = own(tmp_path) / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=str(path)):
        read_domain(str(path.parent))


MALFORMED = {
    "no yaml": ("item_noun: [wine", "not yaml"),
    "nested without end": ("[" * 5000, "not yaml"),
    "a day that there is not": ("item_noun: 2025-13-45", "not yaml"),
    "python": ("title: !!python/object/apply:os.system [true]", "not yaml"),
    "a list": ("- wine", "'key: value'"),
    "text": ("wine", "'key: value'"),
    "unknown key": ("item_nuon: wine", "'item_nuon' (did you mean 'item_noun'?)"),
    "a number as key": ("7: wine", "'7'"),
    "noun": ("item_noun: ''", "item_noun"),
    "noun no text": ("user_noun: 7", "user_noun"),
    "nouns no text": ("item_nouns: [a, b]", "item_nouns"),
    "plural no text": ("category_noun: [a]", "category_noun"),
    "title": ("title: 7", "title"),
    "title null": ("title:", "title"),
    "title of numbers": ("title: [a, 7]", "title"),
    "description": ("description: {a: b}", "description"),
    "year": ("year: true", "year"),
    "unknown": ("unknown: 7", "unknown"),
    "categories": ("categories: genres", "categories"),
    "separator": ("categories: {genres: 7}", "categories"),
    "liked": ("liked_from: good", "liked_from"),
    "liked infinite": ("liked_from: .inf", "liked_from"),
    "liked true": ("liked_from: true", "liked_from"),
    "columns text": ("item_columns: city", "item_columns"),
    "columns number": ("item_columns: 7", "item_columns"),
    "columns mapping": ("user_columns: {name: city}", "user_columns"),
    "column text": ("item_columns: [city]", "item_columns"),
    "column nameless": ("item_columns: [{phrase: 'in {}'}]", "item_columns"),
    "column name": ("user_columns: [{name: 7}]", "user_columns"),
    "column key": ("item_columns: [{name: city, wrods: 7}]", "wrods"),
    "phrase without place": ("item_columns: [{name: city, phrase: in}]", "city"),
    "phrase with two": ("item_columns: [{name: city, phrase: '{} {}'}]", "city"),
    "phrase with a name": ("item_columns: [{name: city, phrase: '{a.b}'}]", "city"),
    "phrase no text": ("item_columns: [{name: city, phrase: 7}]", "city"),
    "values": ("item_columns: [{name: city, values: [a]}]", "city"),
    "bins": ("user_columns: [{name: age, bins: 7}]", "age"),
    "bins of words": ("user_columns: [{name: age, bins: [young]}]", "age"),
    "words": ("item_columns: [{name: city, words: many}]", "city"),
    "words infinite": ("item_columns: [{name: city, words: .inf}]", "city"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_domain_names_its_file_and_key(tmp_path: Path, name: str) -> None:
    columns, told = MALFORMED[name]
    folder = own(tmp_path, columns)
    with pytest.raises(OptionError) as caught:
        read_domain(str(folder))
    message = str(caught.value)
    assert str(folder / "domain.yaml") in message
    assert told in message.replace(str(folder), "")
    assert "\n" not in message


def test_a_domain_is_what_its_files_say() -> None:
    domain = Domain("x", "a {max_words} {max_words}", "b")
    assert domain.instruction("item", 5) == "a 5 5"
    assert domain.spec(["title"], []) == ProfileSpec()
