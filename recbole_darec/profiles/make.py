"""One run of ``recbole-darec profile``: from a data set to its profile files."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import InstanceOf

from recbole_darec.data.atomic import write_profiles
from recbole_darec.data.files import replacing
from recbole_darec.data.store import only_run, open_store
from recbole_darec.errors import DataError, OptionError
from recbole_darec.llm.client import Server, check_server, connect
from recbole_darec.llm.limits import RateLimit
from recbole_darec.llm.prices import Price, read_price
from recbole_darec.llm.tokens import token_counter
from recbole_darec.profiles.answers import SCHEMA, Answers, Profile
from recbole_darec.profiles.batch import BatchRun
from recbole_darec.profiles.domains import Domain
from recbole_darec.profiles.generate import (
    Budget,
    Generation,
    Interviewer,
    Tally,
    distinct,
    profiles_of,
    to_ask,
)
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.options import PlanOptions
from recbole_darec.profiles.prompts import Prompt, PromptOptions, item_prompts, user_prompts
from recbole_darec.profiles.template import tell_rows

__all__ = [
    "Plan",
    "ProfileReport",
    "dry_run",
    "export_answers",
    "generate_profiles",
    "template_profiles",
    "write_profile_files",
]

_KINDS = ("item", "user")
_SHOWN = 3
_TO_COME = "(the item's profile, which is made first)"
_ANSWER_TOKENS = 150  # what an answer takes as a rule, for the estimate of a dry run


class Plan(PlanOptions):
    """What a run does.

    Attributes:
        domain, prompts: what the model is told.
        generation, server: which model, where, and how it is asked.
        store: the file of answers.
    """

    domain: InstanceOf[Domain]
    generation: Generation
    store: Path
    prompts: PromptOptions = PromptOptions()
    server: Server = Server()

    def price(self) -> Price | None:
        """Return what the model costs, if the table knows it."""
        return read_price(self.generation.model, self.prices, self.batch)


@dataclass
class ProfileReport:
    """What a run did.

    Attributes:
        profiles: kind to id to text.
        tallies: kind to counts.
        cost: US dollars of this run; None where the price is unknown.
        cost_before: of earlier runs, on the same questions.
        stopped: why it ended early, or None.
        seconds: wall time.
    """

    profiles: dict[str, dict[str, str]]
    tallies: dict[str, Tally]
    cost: float | None = None
    cost_before: float = 0.0
    stopped: str | None = None
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every question has a usable answer."""
        return not self.stopped and not any(t.failed or t.open for t in self.tallies.values())

    def table(self) -> str:
        """Return the counts as aligned lines."""
        names = (
            ("prompts", "prompts"),
            ("ids that share another's", "shared"),
            ("answered in earlier runs", "before"),
            ("answered now", "answered"),
            ("failed", "failed"),
            ("not answered", "open"),
            ("nothing known, not asked", "nothing"),
            ("requests answered", "requests"),
            ("prompt tokens", "prompt_tokens"),
            ("answer tokens", "completion_tokens"),
        )
        kinds = list(self.tallies)
        lines = [f"  {'':<26}" + "".join(f"{kind + 's':>14}" for kind in kinds)]
        for name, attribute in names:
            cells = [getattr(self.tallies[kind], attribute) for kind in kinds]
            lines.append(f"  {name:<26}" + "".join(f"{cell:>14,}" for cell in cells))
        reasons: dict[str, int] = {}
        for tally in self.tallies.values():
            for reason, count in tally.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + count
        for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
            lines.append(f"  failed, {reason}: {count:,}")
        if self.cost is not None:
            lines.append(f"  cost: ${self.cost:.4f} (earlier runs ${self.cost_before:.4f})")
        if self.stopped:
            lines.append(f"  stopped: {self.stopped}")
        return "\n".join(lines)


# -- template -------------------------------------------------------------------------------------


def template_profiles(material: Material, domain: Domain) -> ProfileReport:
    """Make profiles from the tables and the training interactions, without a language model."""
    started = time.perf_counter()
    items, users = material.items, material.users
    of_users, of_items = tell_rows(
        {token: items.rows.get(token, {}) for token in items.ids},
        {token: users.rows.get(token, {}) for token in users.ids},
        material.train,
        domain.spec(items.columns, users.columns),
    )
    profiles = {"item": of_items, "user": of_users}
    tallies = {
        kind: Tally(prompts=len(texts), answered=len(texts)) for kind, texts in profiles.items()
    }
    return ProfileReport(profiles, tallies, seconds=time.perf_counter() - started)


# -- language model -------------------------------------------------------------------------------


def generate_profiles(
    material: Material, plan: Plan, say: Callable[[str], None] = print
) -> ProfileReport:
    """Ask the model for every profile that the store lacks: the items first, then the users.

    Raises:
        DataError: another process asks for the same store, or the store cannot be used.
        ServerError: the server refuses, or does not answer any more.
        MissingExtraError: the package openai is not installed.
    """
    started = time.perf_counter()
    check_server(plan.server)  # before a store is made
    with open_store(plan.store, SCHEMA) as connection, only_run(plan.store, "profile"):
        report = asyncio.run(_generate(material, plan, Answers(connection), say))
    report.seconds = time.perf_counter() - started
    return report


async def _generate(
    material: Material, plan: Plan, answers: Answers, say: Callable[[str], None]
) -> ProfileReport:
    tokens = token_counter(plan.generation.model)
    budget = Budget(plan.price(), plan.max_cost, exact=tokens.exact)
    report = ProfileReport({}, {})
    async with connect(plan.server) as client:
        interviewer = Interviewer(
            client,
            plan.server,
            plan.generation,
            answers,
            RateLimit(plan.requests_per_minute, plan.tokens_per_minute),
            budget,
            tokens,
        )
        texts: dict[str, str] = {}
        for kind in _KINDS:
            prompts, nothing = _prompts(kind, material, plan, texts)
            tally = report.tallies[kind] = Tally(nothing=len(nothing))
            options = plan.generation
            missing = to_ask(prompts, options, answers, plan.retry_failed, tally)
            budget.add_earlier(answers.spent(distinct(prompts, options)))
            if not plan.batch:
                _refuse_to_pay_twice(missing, options, answers)
            if not interviewer.stopped:
                with _bar(f"{kind} profiles", len(missing), budget) as advance:
                    interviewer.advance = advance
                    if plan.batch:
                        price = budget.price
                        factor = price.factor if price is not None else 0.5
                        run = BatchRun(interviewer, plan.poll_seconds, factor, say)
                        await run.ask(missing, tally)
                    else:
                        await interviewer.ask(missing, tally)
            else:
                tally.open += len(missing)
            found = profiles_of(prompts, options, answers)
            report.profiles[kind] = _texts(material, kind, found)
            texts = report.profiles[kind]
    report.stopped = interviewer.stopped
    report.cost_before = budget.before
    report.cost = None if budget.price is None else budget.spent - budget.before
    return report


def _refuse_to_pay_twice(missing: Sequence[Prompt], options: Generation, answers: Answers) -> None:
    """Raise an error where a batch of an earlier run will answer some of the questions."""
    asked = {options.question(prompt).key for prompt in missing}
    sent = {key for _, _, keys, _ in answers.open_batches() for key in keys} & asked
    if sent:
        raise OptionError(
            f"{len(sent):,} of these questions are in a batch that an earlier run sent, and would "
            "be paid twice: go on with --batch"
        )


def _prompts(
    kind: str, material: Material, plan: Plan, item_texts: Mapping[str, str]
) -> tuple[list[Prompt], list[str]]:
    if kind == "item":
        return item_prompts(material, plan.domain, plan.prompts)
    return user_prompts(material, plan.domain, plan.prompts, item_texts)


def _texts(material: Material, kind: str, found: Mapping[str, Profile]) -> dict[str, str]:
    side = material.items if kind == "item" else material.users
    return {token: found[token].summarization for token in side.ids if token in found}


@contextmanager
def _bar(what: str, total: int, budget: Budget) -> Iterator[Callable[[Tally], None]]:
    """Show rate, tokens and cost on standard error; nothing where it is no terminal."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, file=sys.stderr, disable=None, leave=False) as bar:

        def advance(tally: Tally) -> None:
            bar.set_postfix_str(_spent(tally, budget), refresh=False)
            bar.update()

        yield advance


def _spent(tally: Tally, budget: Budget) -> str:
    text = f"{tally.prompt_tokens + tally.completion_tokens:,} tokens"
    if budget.price is not None:
        text += f", ${budget.spent - budget.before:.2f}"
    return text + (f", {tally.failed:,} failed" if tally.failed else "")


# -- dry run --------------------------------------------------------------------------------------


def dry_run(material: Material, plan: Plan, pairs_file: Path | None = None) -> str:
    """Say what a run would ask and cost, and show three prompts; nothing is asked.

    Where the items have no profiles yet, a user's prompt is counted with ones of full length.

    Args:
        material: the data set.
        plan: the run.
        pairs_file: where to write each training interaction that enters a prompt, as a table.
    """
    tokens = token_counter(plan.generation.model)
    filler = " ".join(["profile"] * plan.prompts.max_words)
    texts: dict[str, str] = {}
    asked: dict[str, tuple[list[Prompt], list[Prompt], list[str]]] = {}
    with _known_answers(plan) as answers:
        for kind in _KINDS:
            prompts, nothing = _prompts(kind, material, plan, texts)
            missing = list(distinct(prompts, plan.generation).values())
            if answers is not None:
                missing = to_ask(prompts, plan.generation, answers, plan.retry_failed, Tally())
                texts = _texts(material, kind, profiles_of(prompts, plan.generation, answers))
            asked[kind] = (prompts, missing, nothing)
            if kind == "item":
                texts = {item: texts.get(item, filler) for item in material.items.ids}
    lines = ["dry run: nothing is asked"]
    lines.append(f"  {'':<8}{'prompts':>12}{'in the store':>14}{'to ask':>12}{'prompt tokens':>16}")
    total = 0
    answer_tokens = 0
    for kind, (prompts, missing, _) in asked.items():
        different = len(distinct(prompts, plan.generation))
        count = sum(tokens.messages(prompt.messages()) for prompt in missing)
        total += count
        answer_tokens += len(missing) * min(_ANSWER_TOKENS, plan.generation.max_tokens)
        lines.append(
            f"  {kind + 's':<8}{different:>12,}{different - len(missing):>14,}"
            f"{len(missing):>12,}{count:>16,}"
        )
    lines.append(f"  tokens: {tokens.how}; answers taken as {_ANSWER_TOKENS} tokens each")
    nothing = [f"{len(entry[2]):,} {kind}s" for kind, entry in asked.items() if entry[2]]
    if nothing:
        lines.append(f"  of {' and '.join(nothing)} nothing is known: they are not asked about")
    lines.append(f"  {_cost(plan, total, answer_tokens)}")
    lines += _used(material, asked, pairs_file)
    lines += _examples([asked[kind][0] for kind in _KINDS], filler)
    return "\n".join(lines)


@contextmanager
def _known_answers(plan: Plan) -> Iterator[Answers | None]:
    """Give the store's answers where there is a store; a dry run does not make one."""
    if not plan.store.is_file():
        yield None
        return
    with open_store(plan.store, SCHEMA) as connection:
        yield Answers(connection)


def _cost(plan: Plan, prompt_tokens: int, answer_tokens: int) -> str:
    price = plan.price()
    if price is None:
        return (
            f"cost: unknown, the price table has no {plan.generation.model}; --prices=FILE names "
            "another"
        )
    cost = price.cost(prompt_tokens, answer_tokens)
    how = ", Batch API" if plan.batch else ""
    return f"cost: about ${cost:.2f} ({price.model}{how}, prices of {price.date})"


def _used(
    material: Material,
    asked: Mapping[str, tuple[Sequence[Prompt], Sequence[Prompt], Sequence[str]]],
    pairs_file: Path | None,
) -> list[str]:
    used = {pair for prompts, *_ in asked.values() for prompt in prompts for pair in prompt.used}
    counts = material.counts
    lines = [
        f"  interactions used: {len(used):,} of the {counts['train']:,} for training; of the "
        f"{counts['valid']:,} for validation and the {counts['test']:,} for test none"
    ]
    if pairs_file is not None:
        rows = ["user_id\titem_id\tprompt\n"]
        for kind, (prompts, *_) in asked.items():
            for prompt in prompts:
                rows += [f"{u}\t{i}\t{kind} {prompt.id}\n" for u, i in prompt.used]
        try:
            with replacing(pairs_file) as file:
                file.write("".join(rows).encode("utf-8"))
        except OSError as error:
            raise OptionError(
                f"--interactions-file={pairs_file} cannot be written: {error.strerror or error}"
            ) from None
        lines.append(f"  which, prompt by prompt: {pairs_file}")
    else:
        lines.append("  which, prompt by prompt: --interactions-file=FILE writes them")
    return lines


def _examples(by_kind: Sequence[Sequence[Prompt]], filler: str) -> list[str]:
    """Show three prompts: an item's, and two users', as far as there are."""
    items, users = by_kind
    chosen = [*items[:1], *users[:2]]
    chosen += list(items[1 : 1 + _SHOWN - len(chosen)])
    lines = []
    for prompt in chosen:
        pairs = ", ".join(f"{user} {item}" for user, item in prompt.used) or "none"
        lines += [
            "",
            f"--- {prompt.kind} {prompt.id}; training interactions used: {pairs}",
            prompt.system,
            "",
            prompt.text.replace(filler, _TO_COME),
        ]
    return lines


# -- files ----------------------------------------------------------------------------------------


def write_profile_files(
    folder: Path, material: Material, report: ProfileReport, about: Mapping[str, Any]
) -> list[Path]:
    """Write ``NAME.itemprofile.jsonl``, ``NAME.userprofile.jsonl`` and ``NAME.profile.json``.

    The last says how they were made, with the split, which ``recbole-darec embed`` passes on and
    training checks.

    Raises:
        DataError: there is no profile to write.
    """
    if not any(report.profiles.values()):
        raise DataError("there is no profile to write: no question has a usable answer")
    folder.mkdir(parents=True, exist_ok=True)
    note = {
        **about,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "split": material.split and material.split.note(),
        "train_sha256": material.train_sha256,
        "profiles": {kind: len(texts) for kind, texts in report.profiles.items()},
    }
    paths = []
    for kind, texts in report.profiles.items():
        if texts:
            paths.append(
                write_profiles(folder, material.dataset, kind, list(texts), list(texts.values()))
            )
    path = folder / f"{material.dataset}.profile.json"
    with replacing(path) as file:
        file.write(json.dumps(note, indent=1, ensure_ascii=False).encode("utf-8") + b"\n")
    return [*paths, path]


def export_answers(store: Path, out: Path) -> int:
    """Write every answer of a store as JSON lines, failures with their raw text; returns how many.

    Raises:
        DataError: there is no store, or it has no answers.
    """
    if not store.is_file():
        raise DataError(f"there is no store {store}: run 'recbole-darec profile' first")
    count = 0
    with open_store(store, SCHEMA) as connection:
        answers = Answers(connection).all()
        first = next(answers, None)
        if first is None:
            raise DataError(f"the store {store} has no answers yet")
        try:
            with replacing(out) as file:
                for row in itertools.chain([first], answers):
                    file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
                    count += 1
        except OSError as error:
            raise OptionError(f"{out} cannot be written: {error.strerror or error}") from None
    return count
