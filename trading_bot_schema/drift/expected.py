"""Compares a live database with a scratch one that the migrations build.

Expected differences are the owner, the grants of ``docs/roles.sql``, the locale of the database,
the form in which PostgreSQL prints expressions restored from a dump, and the kinds that the
operator ignores.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import Any

from sqlalchemy import Row

from trading_bot_schema.drift.catalogue import Catalogue, differences

IGNORABLE = {
    "extensions": "extensions; what belongs to one is never reported",
    "privileges": "owners, grants and default privileges",
    "replication": "publications, subscriptions and replication slots",
    "storage": "storage parameters of tables and indexes, such as fillfactor",
}
"""What an operator may have set up, by the name with which it is ignored."""

SIDES = ("migrations", "database")

OWNER = "<owner>"
"""Stands for the role that migrates. No role's name is printed like that."""

INITDB_COMMENT = "'default administrative connection database'"
"""The comment on the database ``postgres``, from initdb."""

Objects = Mapping[str, str]

_PRIVILEGES = re.compile(r"(DEFAULT )?ACL |OWNER of ")
_IGNORED = {
    "extensions": re.compile(r"(COMMENT |OWNER of )?EXTENSION "),
    "privileges": _PRIVILEGES,
    "replication": re.compile(r"(COMMENT )?(PUBLICATION|SUBSCRIPTION|REPLICATION SLOT)\b"),
}
_TABLE = re.compile(r"(?:TABLE|VIEW|MATERIALIZED VIEW) public\.(.+)")
_SEQUENCE = re.compile(r"SEQUENCE public\.(.+)")
_SEQUENCES = "DEFAULT ACL public.DEFAULT PRIVILEGES FOR SEQUENCES"
_STORED = re.compile(r"TABLE |INDEX |CONSTRAINT |MATERIALIZED VIEW ")
_OWNED = re.compile(r"(?P<before>\n*)^(?P<what>ALTER .+ OWNER TO )(?P<owner>.+);$", re.MULTILINE)
_PARAMETERS = re.compile(r"\s+WITH \((?:[\w.]+='?(?:[^',()]|'')*'?(?:, )?)+\)")
_GRANT = re.compile(r"(?<=\bGRANT )[A-Z]+(?:,[A-Z]+)+(?= ON )")
_STRING = r"'(?:[^']|'')*'"
_LOCALE = re.compile(
    r" (?:ENCODING|(?:BUILTIN_|ICU_)?LOCALE|LOCALE_PROVIDER|LC_COLLATE|LC_CTYPE|ICU_RULES)"
    rf" = (?:\w+|{_STRING})"
)
# What may precede a secret, by the start of an object's name. Settings with a dot are those of
# extensions and applications; some hold keys.
_SECRETS = {
    "SUBSCRIPTION ": "CONNECTION ",
    "SERVER ": r"\w ",
    "USER MAPPING ": r"\w ",
    "DATABASE": r"""SET (?:"[^"]+\.[^"]+"|\w+\.\w+) TO """,
}


def comparable(
    reference: Catalogue, live: Catalogue, ignored: Set[str]
) -> tuple[Catalogue, Catalogue]:
    """Return the two catalogues without their expected differences."""
    expected, actual = (_adjusted(side.objects, side.roles, ignored) for side in (reference, live))
    if "privileges" not in ignored:
        for name, granted in _granted(expected, actual, live.roles).items():
            expected[name] = _sorted_grants("\n".join([expected.get(name, ""), *granted]))
    return replace(reference, objects=expected), replace(live, objects=actual)


def differences_from(
    reference: Catalogue, live: Catalogue, ignored: Set[str], restored: Callable[[], Catalogue]
) -> str:
    """Return the differences of a database from a reference; empty if there are none.

    ``restored`` returns the reference after a dump and a restore. It is called only if there are
    differences without it.
    """
    expected, actual = comparable(reference, live, ignored)
    if report := differences(expected, actual, SIDES, None, {}):
        as_restored, _ = comparable(restored(), live, ignored)
        actual = as_migrated(expected, as_restored, actual)
        report = differences(expected, actual, SIDES, None, {})
    return report


def as_migrated(reference: Catalogue, restored: Catalogue, live: Catalogue) -> Catalogue:
    """Return a live database as it would be printed without a dump and a restore.

    PostgreSQL prints some expressions in another form after a dump and a restore. The lines of an
    object that equal those of ``restored``, the reference after a dump and a restore, are replaced
    by the reference's own.
    """
    objects = {**live.objects}
    for name in objects.keys() & reference.objects.keys() & restored.objects.keys():
        # A trailing comma depends on the next line.
        built, restored_lines = (
            [line.removesuffix(",") for line in side.objects[name].splitlines()]
            for side in (reference, restored)
        )
        if len(built) != len(restored_lines):
            continue
        migrated = dict(zip(restored_lines, built, strict=True))
        lines = []
        for line in objects[name].splitlines():
            bare = line.removesuffix(",")
            lines.append(migrated.get(bare, bare) + line[len(bare) :])
        objects[name] = "\n".join(lines)
    return replace(live, objects=objects)


def _granted(expected: Objects, actual: Objects, roles: Row[Any]) -> dict[str, list[str]]:
    """Return the grants of docs/roles.sql, as pg_dump prints them."""
    grants = defaultdict[str, list[str]](list)
    schema = "ACL SCHEMA public"
    creates = f"GRANT ALL ON SCHEMA public TO {OWNER};"
    # An owner without an application role may have it too.
    if not roles.owner_is_superuser and (roles.applications or creates in actual.get(schema, "")):
        grants[schema].append(creates)
    for role in roles.applications:
        grants[schema].append(f"GRANT USAGE ON SCHEMA public TO {role};")
        grants["DEFAULT ACL public.DEFAULT PRIVILEGES FOR TABLES"].append(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public"
            f" GRANT SELECT,INSERT,DELETE,UPDATE ON TABLES TO {role};",
        )
        for name in expected:
            if match := _TABLE.match(name):
                writes = "" if match[1] == "alembic_version" else ",INSERT,DELETE,UPDATE"
                grants[f"ACL public.TABLE {match[1]}"].append(
                    f"GRANT SELECT{writes} ON TABLE public.{match[1]} TO {role};"
                )
        grants_usage = (
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public"
            f" GRANT USAGE ON SEQUENCES TO {role};"
        )
        if grants_usage in actual.get(_SEQUENCES, ""):  # not before it was run again
            grants[_SEQUENCES].append(grants_usage)
            for name in expected:
                if match := _SEQUENCE.match(name):
                    grants[f"ACL public.SEQUENCE {match[1]}"].append(
                        f"GRANT USAGE ON SEQUENCE public.{match[1]} TO {role};"
                    )
    return grants


def _adjusted(objects: Objects, roles: Row[Any], ignored: Set[str]) -> dict[str, str]:
    same_role = _replace_role(roles.owner, OWNER)
    adjusted = {}
    for name, text in objects.items():
        if any(kind in ignored and _IGNORED[kind].match(name) for kind in _IGNORED) or (
            name == "COMMENT DATABASE this_database" and INITDB_COMMENT in text
        ):
            continue
        if "privileges" in ignored:
            text = _OWNED.sub("", text)
        if "storage" in ignored and _STORED.match(name):
            text = _PARAMETERS.sub("", text)
        if name.startswith("DATABASE"):
            # Chosen when the database was created, before any migration.
            text = _LOCALE.sub("", text)
            if roles.administrator_owns_database and not roles.owner_is_superuser:
                # The owner that docs/roles.sql sets.
                text = _OWNED.sub(rf"\g<before>\g<what>{OWNER};", text)
        if _PRIVILEGES.match(name):
            text = _sorted_grants(same_role(text))
        else:
            text = _OWNED.sub(lambda owned: same_role(owned[0]), text)
        for kind, before in _SECRETS.items():
            if name.startswith(kind):
                text = re.sub(f"({before}){_STRING}", r"\g<1>'***'", text)
        adjusted[name] = text
    return adjusted


def _replace_role(role: str, by: str) -> Callable[[str], str]:
    """Return a function that replaces a role where pg_dump names it in grants and as an owner."""
    names = "|".join({re.escape(role), re.escape('"' + role.replace('"', '""') + '"')})
    named = re.compile(rf"\b(TO|FROM|ROLE|AUTHORIZATION) (?:{names})(?=[;\s]|$)", re.MULTILINE)
    return lambda text: named.sub(rf"\1 {by}", text)


def _sorted_grants(text: str) -> str:
    text = _GRANT.sub(lambda match: ",".join(sorted(match[0].split(","))), text)
    return "\n".join(sorted(filter(None, text.splitlines())))
