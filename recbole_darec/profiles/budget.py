"""Money: what a run may cost, and what it has cost."""

from __future__ import annotations

from recbole_darec.errors import OptionError
from recbole_darec.llm.prices import Price
from recbole_darec.profiles.answers import Paid

__all__ = ["Budget", "BudgetReached"]


class BudgetReached(Exception):
    """The next request might cost more than is left."""


class Budget:
    """Money: what was spent, what requests under way may cost, and the limit of both.

    Args:
        price: of the model; None if unknown, which goes with no limit only.
        limit: US dollars; None for none.
        exact: whether prompt tokens are counted and not estimated.
    """

    def __init__(
        self,
        price: Price | None,
        limit: float | None,
        exact: bool = False,
    ) -> None:
        if limit is not None and price is None:
            raise OptionError(
                "--max-cost needs the model's price: give a table that has it with --prices=FILE"
            )
        self.price = price
        self.limit = limit
        self._reserved = 0.0
        # Estimated tokens are too few for some texts; the worst seen so far is expected again.
        self._worst = 1.0 if exact else 1.5
        self.before = self.spent = 0.0

    def add_earlier(self, tokens: tuple[float, float]) -> None:
        """Count what was paid in earlier runs: :meth:`.Answers.spent` of some questions."""
        if self.price is not None:
            # Tokens at the Batch API's price come in already halved.
            earlier = self.price.cost(*tokens) / self.price.factor
            self.before += earlier
            self.spent += earlier

    def reserve(self, prompt_tokens: int, max_tokens: int) -> float:
        """Set aside what a request may cost, and return it.

        Raises:
            BudgetReached: there is not so much left.
        """
        if self.price is None:
            return 0.0
        cost = self.price.cost(prompt_tokens * self._worst, max_tokens)
        if self.limit is not None and self.spent + self._reserved + cost > self.limit:
            raise BudgetReached
        self._reserved += cost
        return cost

    def settle(self, reserved: float, expected: int, paid: Paid | None) -> None:
        """Give back what was set aside, and count what the request took, if it was answered."""
        self._reserved -= reserved
        if paid is None or self.price is None:
            return
        self.spent += self.price.cost(paid.prompt_tokens, paid.completion_tokens)
        if expected:
            self._worst = max(self._worst, 1.1 * paid.prompt_tokens / expected)
