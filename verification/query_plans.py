"""The cost of a statement: its plan, with the pages that it read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import CompilerElement

from verification.databases import execute, scalar
from verification.tables import TABLES


@dataclass(frozen=True)
class QueryPlan:
    """An executed plan.

    Attributes:
        scanned: Tables with a sequential scan.
        rows: Rows that contribute to the result, before they are counted, summed or updated.
        buffers: Pages of 8 kB read, from memory or from disk.
    """

    indexes: frozenset[str]
    scanned: frozenset[str]
    steps: tuple[str, ...]
    rows: int
    buffers: int
    milliseconds: float


def vacuum(url: str) -> None:
    """Remove the old versions of rows, as autovacuum would in time, and analyze the tables.

    Not the whole database: VACUUM FULL would lock catalogs that all databases of a server share.
    """
    tables = scalar(url, f"SELECT string_agg(name, ', ') FROM ({TABLES}) AS tables")
    execute(url, f"VACUUM FULL {tables}", f"VACUUM (ANALYZE) {tables}")


def explain(connection: Connection, statement: Executable) -> QueryPlan:
    """Run a statement, roll it back, and return its plan."""
    assert isinstance(statement, CompilerElement)
    compiled = statement.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    savepoint = connection.begin_nested()
    (result,) = connection.exec_driver_sql(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}", compiled.construct_params()
    ).scalar_one()
    savepoint.rollback()
    nodes = list(_nodes(result["Plan"]))
    top = nodes[0]
    return QueryPlan(
        indexes=frozenset(node["Index Name"] for node in nodes if "Index Name" in node)
        | frozenset(top.get("Conflict Arbiter Indexes", ())),
        scanned=frozenset(n["Relation Name"] for n in nodes if n["Node Type"] == "Seq Scan"),
        steps=tuple(
            " ".join(filter(None, (node["Node Type"], node.get("Index Name")))) for node in nodes
        ),
        rows=max(round(node["Actual Rows"] * node["Actual Loops"]) for node in _leaves(nodes)),
        buffers=top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        milliseconds=result["Execution Time"],
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _leaves(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in nodes if "Plans" not in node]
