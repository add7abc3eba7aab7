"""What can go wrong on the serving side: a request we refuse, and a server we cannot start."""

from __future__ import annotations

from typing import Any

from catalog import MoonError


class ServingError(MoonError):
    """An index, a Bento or a server cannot be built, opened or reached."""


class RequestError(MoonError):
    """A request the service refuses, with the HTTP status that says whose turn it is.

    Args:
        problem: What is wrong with the request.
        status: 4xx. 400 malformed or out of bounds, 413 too large, 415 wrong content type.
        where: Field of the request, such as `products[0].images[1]`.
        got: What was found there.
        allowed: What would have been accepted.
        fix: What to do now.
    """

    def __init__(
        self, problem: str, *, status: int = 400, where: str = "", got: str = "", allowed: str = "", fix: str = ""
    ) -> None:
        super().__init__(problem, where=where, got=got, allowed=allowed, fix=fix)
        self.status = status

    def to_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        return error_body(self)


def error_body(error: MoonError) -> dict[str, Any]:
    """The JSON body of a refusal: the problem, and where, got, allowed and fix as far as they are known."""
    rows = {"where": error.where, "got": error.got, "allowed": error.allowed, "fix": error.fix}
    return {"error": error.problem, **{name: text for name, text in rows.items() if text}}
