"""Random statements over a world's tables.

Plain random statements seldom meet the rule that they would break, so that there is a
mode for each rule of placement, which makes statements of the shape that the rule is
about: each mode's statement is built of a random block (FROM and WHERE).

LIMIT comes only with a total order, because otherwise the answer is not determined
and a difference would mean nothing.
"""

JOINS = ["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
SETTINGS = ["enable_hashjoin=off", "enable_mergejoin=off", "enable_nestloop=off", "enable_seqscan=off",
            "enable_sort=off", "enable_hashagg=off", "enable_material=off", "enable_memoize=off",
            "enable_bitmapscan=off", "enable_incremental_sort=off", "enable_partitionwise_join=on",
            "enable_partitionwise_aggregate=on", "from_collapse_limit=1", "plan_cache_mode=force_generic_plan", "jit=off"]
PARALLEL = ["parallel_setup_cost=0", "parallel_tuple_cost=0", "min_parallel_table_scan_size=0"]


def some(source, world, alias, table):
    """A condition on a table, which often asks about another table's rows."""
    other = source.choice(list(world.tables.values()))
    subject = source.choice(table.subjects)
    theirs = source.choice(other.subjects)
    low = source.randrange(8)
    options = [f"{alias}.{subject} < {source.randrange(1, 15)}", f"{alias}.{subject} IS NOT NULL"]
    inner = f" AND x.{other.numbers[0]} > {low}" if other.numbers else ""
    options += [
        f"EXISTS (SELECT FROM {other.name} x WHERE x.{theirs} = {alias}.{subject}{inner})",
        f"NOT EXISTS (SELECT FROM {other.name} x WHERE x.{theirs} = {alias}.{subject}{inner})",
        f"{alias}.{subject} IN (SELECT x.{theirs} FROM {other.name} x WHERE true{inner})",
        f"{alias}.{subject} NOT IN (SELECT x.{theirs} FROM {other.name} x WHERE x.{theirs} IS NOT NULL{inner})",
        f"(SELECT count(*) FROM {other.name} x WHERE x.{theirs} = {alias}.{subject}) > 1",
    ]
    for number in table.numbers:
        options += [f"{alias}.{number} > {low}", f"{alias}.{number} = {low}", f"{alias}.{number} IS NULL"]
        if other.numbers:
            options.append(f"{alias}.{number} >= (SELECT max({other.numbers[0]}) - {source.randrange(6)} FROM {other.name})")
            options.append(f"{alias}.{number} > ALL (SELECT x.{other.numbers[0]} FROM {other.name} x WHERE x.{theirs} = {alias}.{subject})")
    return source.choice(options)


def relation(source, table):
    return source.choice([table.name, table.name, table.name, *table.views])


def block(source, world, tables=None):
    """A FROM clause, its tables, and a WHERE clause."""
    names = [source.choice(list(world.tables.values()))]
    clause = f"{relation(source, names[0])} t0"
    for number in range(1, tables or source.choice([1, 1, 2, 2, 3])):
        table = source.choice(list(world.tables.values()))
        left = source.randrange(number)
        if source.random() < 0.3 and names[left].keys and table.keys:
            on = f"t{left}.{source.choice(names[left].keys)} = t{number}.{source.choice(table.keys)}"
        else:
            on = f"t{left}.{source.choice(names[left].subjects)} = t{number}.{source.choice(table.subjects)}"
        join = source.choice(JOINS)
        if source.random() < 0.3 and join != "FULL JOIN":
            on += f" AND {some(source, world, f't{number}', table)}"
        clause += f" {join} {relation(source, table)} t{number} ON {on}"
        names.append(table)
    where = []
    for number, table in enumerate(names):
        if source.random() < 0.4:
            where.append(some(source, world, f"t{number}", table))
        elif source.random() < 0.1:
            where.append(f"t{number}.{table.subjects[0]} IS NULL")
    return names, clause, (" WHERE " + " AND ".join(where)) if where else ""


def columns_of(names):
    return [f"t{n}.{c}" for n, table in enumerate(names) for c in table.columns]


def subject_columns(names):
    return [f"t{n}.{s}" for n, table in enumerate(names) for s in table.subjects]


class Maker:
    """One block, and what the modes pick of it."""

    def __init__(self, source, world):
        self.source = source
        self.world = world
        self.names, self.clause, self.where = block(source, world)
        self.columns = columns_of(self.names)
        self.order = ", ".join(self.columns)
        self.picked = source.sample(self.columns, min(len(self.columns), source.randrange(1, 4)))
        subjects = subject_columns(self.names)
        self.ids = tuple(i for i, c in enumerate(self.picked) if c in subjects)
        self.list = ", ".join(self.picked)
        self.table = self.names[0]

    def limit(self):
        text = f" LIMIT {self.source.randrange(1, 6)}"
        return text + (f" OFFSET {self.source.randrange(1, 4)}" if self.source.random() < 0.3 else "")

    def ordered(self):
        first = f"{self.source.choice(self.columns)} {self.source.choice(['', 'DESC'])}"
        return f"ORDER BY {first}, {self.order}"

    def rows(self):
        return f"SELECT {self.list} FROM {self.clause}{self.where}", self.ids

    def cut(self):
        return f"SELECT {self.list} FROM {self.clause}{self.where} {self.ordered()}{self.limit()}", self.ids

    def cut_within(self):
        bound = self.source.choice(self.names[0].subjects)
        return (f"SELECT * FROM (SELECT {self.picked[0]} AS a, t0.{bound} AS b FROM {self.clause}{self.where} ORDER BY {self.order}"
                f"{self.limit()}) s WHERE s.b > {self.source.randrange(6)}"), (1,)

    def skipped(self):
        return f"SELECT {self.list} FROM {self.clause}{self.where} ORDER BY {self.order} OFFSET {self.source.randrange(1, 9)}", self.ids

    def ties(self):
        return f"SELECT {self.list} FROM {self.clause}{self.where} ORDER BY {self.source.choice(self.columns)} FETCH FIRST {self.source.randrange(1, 5)} ROWS WITH TIES", self.ids

    def grouped(self):
        having = self.source.choice(["", "", " HAVING count(*) > 1", f" HAVING max({self.columns[-1]}) IS NOT NULL"])
        return f"SELECT {self.picked[0]}, count(*) FROM {self.clause}{self.where} GROUP BY {self.picked[0]}{having}", ()

    def grouping_sets(self):
        pair = self.source.sample(self.columns, 2)
        kind = self.source.choice(["ROLLUP", "CUBE"])
        return f"SELECT {', '.join(pair)}, count(*) FROM {self.clause}{self.where} GROUP BY {kind} ({', '.join(pair)})", ()

    def total(self):
        call = self.source.choice([f"max({self.picked[0]})", f"count(DISTINCT {self.picked[0]})", f"array_agg({self.picked[0]} ORDER BY {self.order})"])
        keep = f" FILTER (WHERE {some(self.source, self.world, 't0', self.table)})" if self.source.random() < 0.3 else ""
        return f"SELECT count(*), {call}{keep} FROM {self.clause}{self.where}", ()

    def distinct(self):
        return f"SELECT DISTINCT {self.list} FROM {self.clause}{self.where}", self.ids

    def distinct_on(self):
        return f"SELECT DISTINCT ON ({self.columns[0]}) {self.list} FROM {self.clause}{self.where} ORDER BY {self.order}", self.ids

    def window(self):
        call = self.source.choice(["rank()", "count(*)", f"lag({self.picked[0]})", f"first_value({self.picked[0]})", "ntile(3)"])
        partition = f"PARTITION BY {self.source.choice(self.columns)} " if self.source.random() < 0.5 else ""
        inner = f"SELECT {self.picked[0]} AS a, {call} OVER ({partition}ORDER BY {self.order}) AS b, t0.{self.table.subjects[0]} AS c FROM {self.clause}{self.where}"
        if self.source.random() < 0.5:
            return f"SELECT a, b FROM ({inner}) s WHERE c > {self.source.randrange(8)}", ()
        return inner, (2,)

    def set_operation(self):
        other = Maker(self.source, self.world)
        operation = self.source.choice(["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"])
        mine, theirs = self.source.choice(subject_columns(self.names)), self.source.choice(subject_columns(other.names))
        return f"SELECT {mine} FROM {self.clause}{self.where} {operation} SELECT {theirs} FROM {other.clause}{other.where}", ()

    def outer_taint(self):
        """The missing side of an outer join decides what is shown of the other."""
        other = self.source.choice(list(self.world.tables.values()))
        missing = self.source.choice([f"o.{other.subjects[0]} IS NULL", f"coalesce(o.{other.subjects[0]}, 0) < 5", "true"])
        join = self.source.choice(["LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        return (f"SELECT t.{self.table.subjects[0]}, o.{other.subjects[-1]} IS NULL FROM {self.table.name} t {join} {other.name} o"
                f" ON t.{self.table.subjects[0]} = o.{other.subjects[0]} WHERE {missing}"), (0,)

    def semi(self):
        other = self.source.choice(list(self.world.tables.values()))
        word = self.source.choice(["EXISTS", "NOT EXISTS"])
        more = f" AND {some(self.source, self.world, 'x', other)}" if self.source.random() < 0.5 else ""
        key = f"x.{other.keys[0]} = t0.{self.table.keys[0]}" if other.keys and self.table.keys else f"x.{other.subjects[0]} = t0.{self.table.subjects[0]}"
        return f"SELECT {self.list} FROM {self.clause} WHERE {word} (SELECT FROM {other.name} x WHERE {key}{more})", self.ids

    def barrier(self):
        """What an inner query hides must not be lost behind OFFSET 0 or a materialized CTE."""
        inner = f"SELECT t0.{self.table.subjects[0]} AS a, {self.source.choice(self.columns)} AS b FROM {self.clause}{self.where}"
        if self.source.random() < 0.5:
            return f"SELECT b FROM ({inner} OFFSET 0) s WHERE a > {self.source.randrange(8)}", ()
        word = self.source.choice(["MATERIALIZED", "NOT MATERIALIZED"])
        return f"WITH c AS {word} ({inner}) SELECT c.b, d.a FROM c JOIN c d ON d.a = c.a AND d.a > {self.source.randrange(8)}", (1,)

    def lateral(self):
        other = self.source.choice(list(self.world.tables.values()))
        keep = f"x.{other.subjects[0]} <= t0.{self.table.subjects[0]}"
        order = ", ".join(f"x.{c}" for c in other.columns)
        return (f"SELECT {self.list}, l.v FROM {self.clause} CROSS JOIN LATERAL (SELECT x.{other.columns[0]} AS v FROM {other.name} x"
                f" WHERE {keep} ORDER BY {order} DESC LIMIT {self.source.randrange(1, 3)}) l{self.where}"), self.ids

    def correlated(self):
        other = self.source.choice(list(self.world.tables.values()))
        call = self.source.choice(["count(*)", f"max(x.{other.columns[0]})"])
        return (f"SELECT {self.list}, (SELECT {call} FROM {other.name} x WHERE x.{other.subjects[0]} = t0.{self.table.subjects[0]})"
                f" FROM {self.clause}{self.where}"), self.ids

    def recursive(self):
        other = self.source.choice(list(self.world.tables.values()))
        first, last = other.subjects[0], other.subjects[-1]
        step = f"x.{last}" if first != last else f"x.{other.numbers[0]}" if other.numbers else f"x.{last} + 1"
        return (f"WITH RECURSIVE r (v) AS (SELECT {self.source.randrange(1, 8)}::bigint UNION SELECT {step}::bigint FROM r JOIN {other.name} x"
                f" ON x.{first} = r.v) SELECT v FROM r"), ()

    def cursor(self):
        moves = self.source.choice([["FETCH 3 FROM c"], ["MOVE 2 FROM c", "FETCH 2 FROM c"], ["FETCH 1 FROM c", "FETCH 4 FROM c"]])
        return [f"DECLARE c {self.source.choice(['', 'NO SCROLL'])} CURSOR FOR SELECT {self.list} FROM {self.clause}{self.where} ORDER BY {self.order}", *moves], ()

    def prepared(self):
        bound = self.source.choice(self.table.subjects)
        return [f"PREPARE p (int) AS SELECT {self.list} FROM {self.clause}{self.where}{' AND' if self.where else ' WHERE'} t0.{bound} > $1",
                f"EXECUTE p ({self.source.randrange(8)})"], self.ids

    def update(self):
        table = self.table
        number = table.numbers[0] if table.numbers else table.subjects[0]
        value = f"t.{number} + 100" if table.numbers else f"t.{number}"
        returning = f" RETURNING t.{table.subjects[0]}" if self.source.random() < 0.6 else ""
        return f"UPDATE {table.name} t SET {number} = {value} WHERE {some(self.source, self.world, 't', table)}{returning}", ()

    def delete(self):
        other = self.source.choice(list(self.world.tables.values()))
        table = self.table
        using = f" USING {other.name} o WHERE o.{other.subjects[0]} = t.{table.subjects[0]} AND" if self.source.random() < 0.5 else " WHERE"
        returning = f" RETURNING t.{table.columns[-1]}" if self.source.random() < 0.6 else ""
        return f"DELETE FROM {table.name} t{using} {some(self.source, self.world, 't', table)}{returning}", ()

    def insert(self):
        table = self.table
        columns = ", ".join(table.columns)
        conflict = self.source.choice(["", " ON CONFLICT DO NOTHING"])
        if table.unique and self.source.random() < 0.5 and table.numbers:
            conflict = f" ON CONFLICT ({table.subjects[0]}) DO UPDATE SET {table.numbers[0]} = excluded.{table.numbers[0]} + 1"
        picked = "DISTINCT ON (" + table.subjects[0] + ") " if conflict.endswith("1") else ""
        order = f" ORDER BY {columns}" if picked else ""
        return (f"INSERT INTO {table.name} ({columns}) SELECT {picked}{columns} FROM {table.name} t WHERE {some(self.source, self.world, 't', table)}{order}"
                f"{conflict} RETURNING {table.subjects[0]}"), ()

    def merge(self):
        table, other = self.table, self.source.choice(list(self.world.tables.values()))
        number = table.numbers[0] if table.numbers else None
        act = f"UPDATE SET {number} = 7" if number and self.source.random() < 0.6 else "DELETE"
        extra = f" AND {some(self.source, self.world, 't', table)}" if self.source.random() < 0.3 else ""
        insert = f" WHEN NOT MATCHED THEN INSERT ({table.subjects[0]}) VALUES (50)" if not table.unique and table.name != "person" and self.source.random() < 0.3 else ""
        return (f"MERGE INTO {table.name} t USING (SELECT DISTINCT {other.subjects[0]} AS w FROM {other.name}) s ON s.w = t.{table.subjects[0]}"
                f" WHEN MATCHED{extra} THEN {act}{insert}"), ()

    def modifying(self):
        table = self.table
        return (f"WITH d AS (DELETE FROM {table.name} t WHERE {some(self.source, self.world, 't', table)} RETURNING t.{table.subjects[0]} AS a)"
                f" SELECT count(*), max(a) FROM d"), ()


# By weight: what is common comes more often.
MODES = {
    "rows": 4, "cut": 3, "cut_within": 2, "skipped": 2, "ties": 2, "grouped": 3, "grouping_sets": 2, "total": 2, "distinct": 2,
    "distinct_on": 2, "window": 3, "set_operation": 3, "outer_taint": 3, "semi": 3, "barrier": 3, "lateral": 2, "correlated": 2,
    "recursive": 2, "cursor": 2, "prepared": 1, "update": 2, "delete": 2, "insert": 2, "merge": 2, "modifying": 1,
}
WRITES = {"update", "delete", "insert", "merge", "modifying"}


def case(source, world, mode=None):
    mode = mode or source.choices(list(MODES), list(MODES.values()))[0]
    text, ids = getattr(Maker(source, world), mode)()
    settings = source.sample(SETTINGS, source.randrange(3))
    if source.random() < 0.2 and mode not in WRITES:
        settings += PARALLEL
    texts = text if isinstance(text, list) else [text]
    return {"construct": f"random {mode}", "statements": texts, "ids": ids, "settings": settings, "plan": False,
            "name": "; ".join(texts), "world": world, "since": 150000 if mode == "merge" else 0}
