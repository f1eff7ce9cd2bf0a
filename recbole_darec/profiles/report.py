"""What a run of ``recbole-darec profile`` did, in counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from recbole_darec.profiles.answers import Paid

__all__ = ["ProfileReport", "Tally"]


@dataclass
class Tally:
    """Counts of one run, for one kind of prompt."""

    prompts: int = 0
    shared: int = 0
    """Ids of which the same is known as of another one, so that they share its answer."""
    nothing: int = 0
    """Ids of which nothing is known, so that nothing was asked."""
    before: int = 0
    """Answered in an earlier run."""
    answered: int = 0
    failed: int = 0
    """Asked as often as is allowed, without a usable answer, in this run or an earlier one."""
    open: int = 0
    """Not answered: the server failed, or the run was stopped."""
    requests: int = 0
    """Requests that the server answered."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    thoughts: int = 0
    """Answered requests that the model thought about, as far as its answers tell."""
    reasons: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)
    """Reason to what the server said, once for each."""

    def fail(self, reason: str, words: str = "") -> None:
        """Count a question without a usable answer; of a reason what stands before a colon."""
        self.failed += 1
        reason = reason.split(":")[0]
        self.reasons[reason] += 1
        if words:
            self.words.setdefault(reason, words)

    def count(self, paid: Paid) -> None:
        """Count an answered request."""
        self.requests += 1
        self.prompt_tokens += paid.prompt_tokens
        self.completion_tokens += paid.completion_tokens


@dataclass
class ProfileReport:
    """What a run did.

    Attributes:
        texts: kind to id to profile text.
        tallies: kind to counts.
        cost: US dollars of this run; None where the price is unknown.
        cost_before: of earlier runs, on the same questions.
        stopped: why it ended early, or None.
        seconds: wall time.
        thinking: what was asked of the model's thinking, or None.
    """

    texts: dict[str, dict[str, str]]
    tallies: dict[str, Tally]
    cost: float | None = None
    cost_before: float = 0.0
    stopped: str | None = None
    seconds: float = 0.0
    thinking: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every question has a usable answer."""
        return not self.stopped and not any(t.failed or t.open for t in self.tallies.values())

    def table(self) -> str:
        """Return the counts as aligned lines."""
        names = [
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
        ]
        thoughts = sum(tally.thoughts for tally in self.tallies.values())
        if thoughts:
            names.append(("answers after thoughts", "thoughts"))
        kinds = list(self.tallies)
        lines = [f"  {'':<26}" + "".join(f"{kind + 's':>14}" for kind in kinds)]
        for name, attribute in names:
            cells = [getattr(self.tallies[kind], attribute) for kind in kinds]
            lines.append(f"  {name:<26}" + "".join(f"{cell:>14,}" for cell in cells))
        reasons: Counter[str] = Counter()
        words: dict[str, str] = {}
        for tally in self.tallies.values():
            reasons.update(tally.reasons)
            words = {**tally.words, **words}
        for reason, count in reasons.most_common():
            lines.append(f"  failed, {reason}: {count:,}{_remark(reason, words.get(reason, ''))}")
        if thoughts and self.thinking == "off":
            lines.append(
                f"  the model thought in {thoughts:,} of its answers all the same: the server "
                "passes over --thinking=off, or the model cannot do without"
            )
        if self.cost is not None:
            lines.append(f"  cost: ${self.cost:.4f} (earlier runs ${self.cost_before:.4f})")
        if self.stopped:
            lines.append(f"  stopped: {self.stopped}")
        return "\n".join(lines)


def _remark(reason: str, words: str) -> str:
    """Return what the server said of a reason, or the way out of it."""
    if words:
        return f" ({words})"
    if "thoughts" in reason:
        return " (bound them with --thinking; --max-tokens counts thoughts and answer together)"
    return ""
