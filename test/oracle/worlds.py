"""The tables that random statements are made over.

A world is a set of watched tables, of which the generator knows the columns, and a
function forget(who, place) that removes a subject from everywhere or from one table.
fixed() is the world of schema.sql; made() makes one from a seed: other column orders,
dropped columns, several subject columns, partitions, inheritance, NULL subjects, indexes
with and without the subject, views as security barriers.
"""
import re

SUBJECTS = 14


class Table:
    """columns: every column, subjects first among those that name people; keys: what joins go by."""

    def __init__(self, name, subjects, columns, keys=(), numbers=(), views=(), unique=False):
        self.name = name
        self.subjects = subjects
        self.columns = columns
        self.keys = list(keys)
        self.numbers = list(numbers)
        self.views = list(views)
        self.unique = unique


class World:
    def __init__(self, name, tables, forget="forget", setup=(), others=()):
        """others: tables that only statements written by hand are over."""
        self.name = name
        self.tables = {table.name: table for table in tables}
        self.forget = forget
        self.setup = list(setup)
        self.others = list(others)

    def places(self, text):
        """The tables that a statement names, itself or by a view."""
        names = {t.name: [t.name, *t.views] for t in self.tables.values()}
        names.update({name: [name] for name in self.others})
        return [t for t, called in names.items() if any(re.search(rf"\b{name}\b", text) for name in called)]


def fixed():
    return World("fixed", [
        Table("person", ["id"], ["id", "name", "soc", "score"], ["soc"], ["score", "soc"], unique=True),
        Table("msg", ["person_id"], ["id", "person_id", "n"], ["n"], ["n", "id"]),
        Table("link", ["person_id", "relative_id"], ["person_id", "relative_id"]),
        Table("parted", ["id"], ["id", "soc"], ["soc"], ["soc"]),
        Table("base", ["id"], ["id", "name"]),
        Table("restricted", ["id"], ["id", "name", "soc"], ["soc"], ["soc"]),
        Table("late", ["id"], ["id", "code"], ["code"], ["code"]),
    ], others=["booking", "letter", "note", "visit"])


def held():
    """The table of cases that commit; each of them puts its rows back."""
    return World("held", [Table("held", ["id"], ["id", "name"])], "forget_held")


def made(name, source):
    """Two to four tables with rows, indexes and views, by the source of chance."""
    tables, setup = [], []
    for number in range(source.randrange(2, 5)):
        table, statements = made_table(f"{name}_{number}", source)
        tables.append(table)
        setup += statements
    removals = [
        f"DELETE FROM {table.name} t WHERE coalesce(place, '{table.name}') = '{table.name}' AND ({' OR '.join(f't.{s} = subject' for s in table.subjects)});"
        for table in tables]
    setup.append(f"""CREATE FUNCTION {name}_forget(subject bigint, place text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN {" ".join(removals)} END $$""")
    return World(name, tables, f"{name}_forget", setup)


def made_table(name, source):
    subjects = ["who"] if source.random() < 0.7 else ["who", "whom"]
    kinds = {s: source.choice(["int", "bigint"]) for s in subjects}
    kinds.update({"k": "int", "n": "int", "s": "text"})
    columns = list(kinds)
    source.shuffle(columns)
    unique = source.random() < 0.3
    rows = []
    for number in range(SUBJECTS if unique else source.randrange(8, 24)):
        row = {s: "NULL" if source.random() < 0.08 else str(source.randrange(1, SUBJECTS + 1)) for s in subjects}
        if unique:
            row["who"] = str(number + 1)
        row["k"] = "NULL" if source.random() < 0.05 else str(source.randrange(1, 5))
        row["n"] = "NULL" if source.random() < 0.05 else str(source.randrange(10))
        row["s"] = f"'{source.choice('abc')}{source.choice('xy')}'"
        rows.append(f"({', '.join(row[c] for c in columns)})")
    list_ = ", ".join(columns)
    # A dropped column, so that numbers of columns and of attributes differ.
    definition = ", ".join(("gone int, " if c == columns[0] and source.random() < 0.4 else "") + f"{c} {kinds[c]}" for c in columns)
    setup = []
    drop = [f"ALTER TABLE {name} DROP COLUMN gone"] if "gone" in definition else []
    shape = source.choice(["plain", "plain", "list", "range", "hash", "inherits"])
    if shape in ("list", "range", "hash"):
        key = source.choice(["k", "n"])
        setup += [f"CREATE TABLE {name} ({definition}) PARTITION BY {shape} ({key})", *drop]
        if shape == "hash":
            setup += [f"CREATE TABLE {name}_p{i} PARTITION OF {name} FOR VALUES WITH (MODULUS 3, REMAINDER {i})" for i in range(3)]
        else:
            other = source.sample(columns, len(columns))
            setup.append(f"CREATE TABLE {name}_p0 ({', '.join(f'{c} {kinds[c]}' for c in other)})")
            bound = "IN (1, 2)" if shape == "list" else "FROM (0) TO (3)"
            setup.append(f"ALTER TABLE {name} ATTACH PARTITION {name}_p0 FOR VALUES {bound}")
            setup.append(f"CREATE TABLE {name}_p1 PARTITION OF {name} DEFAULT")
        setup.append(f"INSERT INTO {name} ({list_}) VALUES {', '.join(rows)}")
        unique = False
    else:
        setup += [f"CREATE TABLE {name} ({definition})", *drop]
        cut = len(rows) if shape == "plain" else len(rows) // 2
        setup.append(f"INSERT INTO {name} ({list_}) VALUES {', '.join(rows[:cut])}")
        if shape == "inherits":
            setup.append(f"CREATE TABLE {name}_c (more text) INHERITS ({name})")
            setup.append(f"INSERT INTO {name}_c ({list_}) VALUES {', '.join(rows[cut:])}")
            unique = False
    if unique:
        setup.append(f"CREATE UNIQUE INDEX ON {name} (who)")
    for _ in range(source.randrange(3)):
        index = source.sample(columns, source.randrange(1, 4))
        setup.append(f"CREATE INDEX ON {name} ({', '.join(index)})")
    view = f"{name}_v"
    barrier = source.choice(["", " WITH (security_barrier)"])
    setup.append(f"CREATE VIEW {view}{barrier} AS SELECT * FROM {name} WHERE n > {source.randrange(6)}")
    setup += [f"SELECT ward.watch('{name}', '{s}')" for s in subjects]
    setup.append(f"VACUUM ANALYZE {name}")
    return Table(name, subjects, columns, ["k"], ["n", "k"], [view], unique), setup
