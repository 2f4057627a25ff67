"""What a request can be refused for: an HTTP status, a sentence, and the field and row at fault."""

from typing import Any


class RequestError(Exception):
    """A request that can't be answered.

    Parameters
    ----------
    status : int
        The HTTP status, between 400 and 499, or 503 if the service is busy.
    message : str
        What is wrong, and what to send instead.
    field : str, optional
        The column or parameter at fault.
    row : int, optional
        The row at fault, counted from 0.
    headers : dict of str to str, optional
        Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        field: str | None = None,
        row: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.row = status, message, field, row
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """Return the response's JSON object."""
        where = {"field": self.field, "row": self.row}
        return {"error": self.message} | {key: value for key, value in where.items() if value is not None}
