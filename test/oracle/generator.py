"""Random statements over the oracle's schema.

LIMIT comes only with a total order, because otherwise the answer is not determined
and a difference would mean nothing.
"""

TABLES = {
    "person": ("id", ["id", "name", "soc", "score"]),
    "msg": ("person_id", ["id", "person_id", "n"]),
    "link": ("person_id", ["person_id", "relative_id"]),
    "society": ("id", ["id"]),
    "parted": ("id", ["id", "soc"]),
}
JOINS = ["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
SETTINGS = ["enable_hashjoin=off", "enable_mergejoin=off", "enable_nestloop=off", "enable_seqscan=off",
            "enable_sort=off", "enable_hashagg=off", "enable_material=off", "enable_memoize=off"]
PARALLEL = ["parallel_setup_cost=0", "parallel_tuple_cost=0", "min_parallel_table_scan_size=0"]


def predicate(source, alias, table):
    if table == "person":
        return source.choice([
            f"{alias}.score > {source.randrange(50)}", f"{alias}.soc = {source.randrange(1, 5)}",
            f"{alias}.id < {source.randrange(1, 15)}",
            f"EXISTS (SELECT FROM msg x WHERE x.person_id = {alias}.id AND x.n > {source.randrange(8)})",
            f"NOT EXISTS (SELECT FROM msg x WHERE x.person_id = {alias}.id AND x.n > {source.randrange(8)})",
            f"{alias}.id IN (SELECT relative_id FROM link)",
            f"{alias}.score >= (SELECT max(score) - {source.randrange(40)} FROM person)"])
    if table == "msg":
        return f"{alias}.n > {source.randrange(9)}"
    if table == "parted":
        return f"{alias}.soc = {source.randrange(1, 4)}"
    return "true"


def block(source, depth=0):
    """A FROM clause, its aliases, and a WHERE clause."""
    names = [source.choice(list(TABLES))]
    clause = f"{names[0]} t0"
    for number in range(1, source.choice([1, 1, 2, 2, 3])):
        table = source.choice(list(TABLES))
        left = source.randrange(number)
        key = source.choice([TABLES[names[left]][0], "soc" if names[left] in ("person", "parted") else TABLES[names[left]][0]])
        other = "soc" if key == "soc" and table in ("person", "parted") else TABLES[table][0]
        join = source.choice(JOINS)
        extra = f" AND {predicate(source, f't{number}', table)}" if source.random() < 0.3 and join != "FULL JOIN" else ""
        clause += f" {join} {table} t{number} ON t{left}.{key} = t{number}.{other}{extra}"
        names.append(table)
    where = []
    for number, table in enumerate(names):
        if source.random() < 0.4:
            where.append(predicate(source, f"t{number}", table))
        elif source.random() < 0.1:
            where.append(f"t{number}.{TABLES[table][0]} IS NULL")
    return names, clause, (" WHERE " + " AND ".join(where)) if where else ""


def order(names):
    """A total order over the rows of a block."""
    columns = []
    for number, table in enumerate(names):
        columns += [f"t{number}.{c}" for c in TABLES[table][1]]
    return ", ".join(columns)


def case(source):
    names, clause, where = block(source)
    columns = [f"t{n}.{c}" for n, t in enumerate(names) for c in TABLES[t][1]]
    picked = source.sample(columns, min(len(columns), source.randrange(1, 4)))
    kind = source.random()
    if kind < 0.35:
        text = f"SELECT {', '.join(picked)} FROM {clause}{where}"
    elif kind < 0.6:
        limit = f" LIMIT {source.randrange(1, 6)}" + (f" OFFSET {source.randrange(1, 4)}" if source.random() < 0.3 else "")
        first = source.choice(columns)
        text = f"SELECT {', '.join(picked)} FROM {clause}{where} ORDER BY {first} {source.choice(['', 'DESC'])}, {order(names)}{limit}"
        if source.random() < 0.3:
            text = (
                f"SELECT * FROM (SELECT {picked[0]} AS a, {columns[0]} AS b FROM {clause}{where} ORDER BY {order(names)}{limit}) s WHERE s.b > {source.randrange(6)}")
    elif kind < 0.75:
        having = " HAVING count(*) > 1" if source.random() < 0.4 else ""
        text = f"SELECT {picked[0]}, count(*) FROM {clause}{where} GROUP BY {picked[0]}{having}"
    elif kind < 0.82:
        text = f"SELECT count(*), max({picked[0]}) FROM {clause}{where}"
    elif kind < 0.9:
        text = f"SELECT DISTINCT {', '.join(picked)} FROM {clause}{where}"
    elif kind < 0.95:
        text = f"SELECT {picked[0]}, rank() OVER (ORDER BY {order(names)}) FROM {clause}{where}"
    else:
        operation = source.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
        text = f"SELECT id FROM person WHERE {predicate(source, 'person', 'person')} {operation} SELECT person_id FROM msg WHERE {predicate(source, 'msg', 'msg')}"
    settings = source.sample(SETTINGS, source.randrange(3))
    if source.random() < 0.2:
        settings += PARALLEL
    return {"construct": "random", "statements": [text], "ids": (), "settings": settings, "plan": False, "name": text}
