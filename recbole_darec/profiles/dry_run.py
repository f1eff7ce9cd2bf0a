"""What a run would ask and cost, without asking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from recbole_darec.data.files import replacing
from recbole_darec.data.store import open_store
from recbole_darec.errors import OptionError
from recbole_darec.llm.tokens import token_counter
from recbole_darec.profiles.answers import SCHEMA, Answers
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.plan import Plan
from recbole_darec.profiles.prompts import Prompt
from recbole_darec.profiles.questions import (
    KINDS,
    distinct,
    profiles_of,
    prompts_of,
    texts_of,
    to_ask,
)
from recbole_darec.profiles.report import Tally

__all__ = ["dry_run"]

_SHOWN = 3
_TO_COME = "(the item's profile, which is made first)"
_ANSWER_TOKENS = 150  # what an answer takes as a rule, for the estimate of a dry run


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
        for kind in KINDS:
            prompts, nothing = prompts_of(kind, material, plan, texts)
            missing = list(distinct(prompts, plan.generation).values())
            if answers is not None:
                missing = to_ask(prompts, plan.generation, answers, plan.retry_failed, Tally())
                texts = texts_of(material, kind, profiles_of(prompts, plan.generation, answers))
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
    lines += _examples([asked[kind][0] for kind in KINDS], filler)
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
