"""Which prompts a data set gives, which of them are asked, and which have a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recbole_darec.profiles.answers import Answers
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.interview import REFUSED
from recbole_darec.profiles.plan import Generation, Plan
from recbole_darec.profiles.prompts import Prompt, item_prompts, user_prompts
from recbole_darec.profiles.reading import Profile
from recbole_darec.profiles.report import Tally

__all__ = ["KINDS", "distinct", "profiles_of", "prompts_of", "texts_of", "to_ask"]

_SHOWN = 300  # characters of a server's words
KINDS = ("item", "user")  # in the order in which they are asked: a user's prompt shows items


def prompts_of(
    kind: str, material: Material, plan: Plan, item_texts: Mapping[str, str]
) -> tuple[list[Prompt], list[str]]:
    if kind == "item":
        return item_prompts(material, plan.domain, plan.prompts)
    return user_prompts(material, plan.domain, plan.prompts, item_texts)


def texts_of(material: Material, kind: str, found: Mapping[str, Profile]) -> dict[str, str]:
    entities = material.items if kind == "item" else material.users
    return {token: found[token].summarization for token in entities.ids if token in found}


def distinct(prompts: Sequence[Prompt], options: Generation) -> dict[str, Prompt]:
    """Return each question once, by its key: ids of which the same is known share an answer."""
    found: dict[str, Prompt] = {}
    for prompt in prompts:
        found.setdefault(options.question(prompt).key, prompt)
    return found


def to_ask(
    prompts: Sequence[Prompt],
    options: Generation,
    answers: Answers,
    retry_failed: bool,
    tally: Tally,
) -> list[Prompt]:
    """Return the prompts that have no answer yet, and count the others in ``tally``."""
    asked = distinct(prompts, options)
    statuses, failures = answers.statuses(asked), answers.failures(asked)
    tally.prompts += len(asked)
    tally.shared += len(prompts) - len(asked)
    missing = []
    for key, prompt in asked.items():
        status = statuses.get(key)
        if status == "ok":
            tally.before += 1
        elif status == "failed" and not retry_failed:
            reason, raw = failures[key]
            short = reason.partition(":")[0]
            tally.fail(f"{short}, in an earlier run", raw[:_SHOWN] if short == REFUSED else "")
        else:
            missing.append(prompt)
    return missing


def profiles_of(
    prompts: Sequence[Prompt], options: Generation, answers: Answers
) -> dict[str, Profile]:
    """Return the profile of each id that has one."""
    keys = {prompt.id: options.question(prompt).key for prompt in prompts}
    found = answers.profiles(set(keys.values()))
    return {owner: found[key] for owner, key in keys.items() if key in found}
