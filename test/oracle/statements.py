"""Statements of the oracle, by construct.

Each case is (construct, statements, options). A statement's rows are compared as a
multiset. Options: ids, the positions of output columns that hold subjects, each of
which must be recorded as certain; settings, planner settings to run it under; plan,
whether the plan must keep its shape (default: for single SELECTs); since, the first
server version that knows the statement; writes, a query for the subjects that the
statements write, each of which must be certain; before, a statement to run first; world, tables of its own, and tidy, what puts them back after a case that commits.
A Bound goes by the extended protocol.
"""
import worlds
from wire import Bound

JOINS = {
    "nestloop": ["enable_hashjoin=off", "enable_mergejoin=off"],
    "hash": ["enable_nestloop=off", "enable_mergejoin=off"],
    "merge": ["enable_nestloop=off", "enable_hashjoin=off"],
}

PARALLEL = [
    "parallel_setup_cost=0", "parallel_tuple_cost=0", "min_parallel_table_scan_size=0",
    "min_parallel_index_scan_size=0", "max_parallel_workers_per_gather=2",
]

CASES = []


def case(construct, *statements, ids=(), settings=(), plan=None, name=None, since=0, before=None, **more):
    if before:
        statements = (before, *statements)
    CASES.append({
        "construct": construct, "statements": list(statements), "ids": tuple(ids),
        "settings": list(settings),
        "plan": plan if plan is not None else
        len(statements) == 1 and statements[0].lower().startswith(("select", "with")) and not isinstance(statements[0], Bound),
        "name": (name or statements[-1]).replace("\n", " "), "since": since, **more,
    })


# ---- scans
case("seq scan", "SELECT id, name FROM person WHERE score > 40", ids=[0])
case("seq scan", "SELECT name FROM person WHERE soc = 2")
case("seq scan", "SELECT count(*) FILTER (WHERE score > 40) FROM person", plan=True)
case("index scan", "SELECT id, name FROM person WHERE id = 5", ids=[0], settings=["enable_seqscan=off"])
case("index scan", "SELECT name FROM person WHERE id BETWEEN 3 AND 6", settings=["enable_seqscan=off", "enable_bitmapscan=off"])
case("index scan", "SELECT id FROM person WHERE id = 99", settings=["enable_seqscan=off"])
case("index-only scan", "SELECT score FROM person WHERE score > 30", settings=["enable_seqscan=off", "enable_bitmapscan=off"])
case("index-only scan", "SELECT id FROM person WHERE id < 5", ids=[0], settings=["enable_seqscan=off", "enable_bitmapscan=off"])
case("index-only scan", "SELECT max(score) FROM person", settings=["enable_seqscan=off"])
case("index-only scan", "SELECT score, count(*) FROM person WHERE score > 20 GROUP BY score", settings=["enable_seqscan=off", "enable_bitmapscan=off"])
case("bitmap scan", "SELECT id FROM person WHERE score > 30 OR id = 2", ids=[0], settings=["enable_seqscan=off", "enable_indexscan=off", "enable_indexonlyscan=off"])
case("tid scan", "SELECT id, name FROM person WHERE ctid = '(0,3)'", ids=[0])
case("tid scan", "SELECT id FROM person WHERE ctid > '(0,3)' AND ctid < '(0,7)'", ids=[0])
case("sample scan", "SELECT id FROM person TABLESAMPLE SYSTEM (100)", ids=[0])
case("whole row", "SELECT p FROM person p WHERE id = 4")
case("whole row", "SELECT row_to_json(p) ->> 'name' FROM person p WHERE soc = 1")
case("system column", "SELECT ctid, name FROM person WHERE soc = 1")

# ---- joins, under each method
for method, settings in JOINS.items():
    case("inner join", "SELECT p.id, p.name, m.body FROM person p JOIN msg m ON m.person_id = p.id WHERE p.soc = 1", ids=[0], settings=settings)
    case("inner join", "SELECT m.body FROM person p JOIN msg m ON m.person_id = p.id WHERE p.score > 30", settings=settings)
    case("inner join", "SELECT p.name, q.name FROM person p JOIN person q ON p.score = q.score AND p.id < q.id", settings=settings)
    case("inner join", "SELECT p.name, m.n, l.kind FROM person p JOIN msg m ON m.person_id = p.id JOIN link l ON l.person_id = p.id WHERE m.n > 3", settings=settings)
    case("left join", "SELECT p.id, m.body FROM person p LEFT JOIN msg m ON m.person_id = p.id AND m.n > 5", ids=[0], settings=settings)
    case("left join", "SELECT p.id FROM person p LEFT JOIN msg m ON m.person_id = p.id WHERE m.id IS NULL", ids=[0], settings=settings)
    case("left join", "SELECT p.id FROM person p LEFT JOIN msg m ON m.person_id = p.id WHERE coalesce(m.n, 0) < 4", ids=[0], settings=settings)
    case("left join", "SELECT s.name, p.name FROM society s LEFT JOIN person p ON p.soc = s.id AND p.score > 45", settings=settings)
    case("left join", "SELECT s.name, count(p.id) FROM society s LEFT JOIN person p ON p.soc = s.id GROUP BY s.name", settings=settings)
    case("left join", "SELECT s.name FROM society s LEFT JOIN person p ON p.soc = s.id AND p.score > 45 WHERE p.id IS NULL", settings=settings)
    case("right join", "SELECT p.name, m.body FROM msg m RIGHT JOIN person p ON m.person_id = p.id AND m.n = 2", settings=settings)
    case("semi join", "SELECT id, name FROM person p WHERE EXISTS (SELECT FROM msg m WHERE m.person_id = p.id AND m.n > 6)", ids=[0], settings=settings)
    case("semi join", "SELECT s.name FROM society s WHERE s.id IN (SELECT soc FROM person WHERE score > 45)", settings=settings)
    case("anti join", "SELECT id FROM person p WHERE NOT EXISTS (SELECT FROM msg m WHERE m.person_id = p.id)", ids=[0], settings=settings)
    case("anti join", "SELECT s.name FROM society s WHERE NOT EXISTS (SELECT FROM person p WHERE p.soc = s.id AND p.score > 45)", settings=settings)
# The few that are asked for may be hashed, and then the join's other side is not returned.
case("anti join", "SELECT id FROM person p WHERE id < 4 AND NOT EXISTS (SELECT FROM msg m WHERE m.person_id = p.id AND m.n > 2)", ids=[0], settings=JOINS["hash"])
case("anti join", "SELECT count(*) FROM society s WHERE id < 3 AND NOT EXISTS (SELECT FROM msg m WHERE m.n = s.id)", settings=JOINS["hash"])
case("anti join", "SELECT s.id FROM society s WHERE id < 3 AND NOT EXISTS (SELECT FROM person p WHERE p.soc = s.id + 2)", settings=JOINS["hash"])
for method in ("hash", "merge"):
    case("full join", "SELECT p.name, m.body FROM person p FULL JOIN msg m ON m.person_id = p.id", settings=JOINS[method])
    case("full join", "SELECT a.name, b.name FROM (SELECT * FROM person WHERE soc = 1) a FULL JOIN (SELECT * FROM person WHERE soc = 2) b ON a.score = b.score WHERE a.id IS NULL OR b.id IS NULL", settings=JOINS[method])
case("memoize", "SELECT m.id, p.name FROM msg m JOIN person p ON p.id = m.person_id", settings=["enable_hashjoin=off", "enable_mergejoin=off", "enable_seqscan=off"])
case("lateral", "SELECT p.id, t.body FROM person p, LATERAL (SELECT body FROM msg m WHERE m.person_id = p.id ORDER BY m.id LIMIT 1) t", ids=[0])
case("lateral", "SELECT s.name, t.name FROM society s LEFT JOIN LATERAL (SELECT name FROM person p WHERE p.soc = s.id ORDER BY score DESC, id LIMIT 1) t ON true")
case("values join", "SELECT v.x, p.name FROM (VALUES (1), (5), (77)) v(x) JOIN person p ON p.id = v.x", ids=[0])

# ---- limits and orders
case("limit", "SELECT id, name FROM person ORDER BY id LIMIT 3", ids=[0])
case("limit", "SELECT name FROM person ORDER BY score, id LIMIT 3")
case("limit", "SELECT name FROM person ORDER BY score DESC, id LIMIT 2 OFFSET 3")
case("limit", "SELECT p.name FROM person p JOIN msg m ON m.person_id = p.id ORDER BY m.n DESC, m.id LIMIT 2")
case("limit", "SELECT name FROM (SELECT * FROM person ORDER BY score DESC, id LIMIT 4) t WHERE t.soc = 1")
case("limit", "SELECT count(*) FROM (SELECT * FROM person ORDER BY score DESC, id LIMIT 4) t")
case("limit", "SELECT name FROM person ORDER BY score FETCH FIRST 2 ROWS WITH TIES")
case("limit", "SELECT p.name, t.n FROM person p JOIN (SELECT person_id, n FROM msg ORDER BY n DESC, id LIMIT 5) t ON t.person_id = p.id WHERE p.soc = 2")
case("limit", "SELECT s.name FROM society s LEFT JOIN person p ON p.soc = s.id ORDER BY p.score DESC NULLS LAST, p.id LIMIT 1")
case("limit zero", "SELECT name FROM person LIMIT 0")

# ---- grouping
case("aggregate", "SELECT count(*) FROM person")
case("aggregate", "SELECT sum(score), avg(score), max(name) FROM person WHERE soc = 1")
case("aggregate", "SELECT soc, count(*) FROM person GROUP BY soc")
case("aggregate", "SELECT soc, count(*) FROM person GROUP BY soc HAVING count(*) > 3")
case("aggregate", "SELECT id, count(*) FROM person GROUP BY id HAVING id < 4", ids=[0])
case("aggregate", "SELECT p.id, count(m.id) FROM person p LEFT JOIN msg m ON m.person_id = p.id GROUP BY p.id", ids=[0])
case("aggregate", "SELECT string_agg(name, ',' ORDER BY id) FROM person WHERE soc = 2")
case("aggregate", "SELECT array_agg(id ORDER BY id) FROM person WHERE score > 30")
case("aggregate", "SELECT count(*) FROM person p JOIN msg m ON m.person_id = p.id WHERE m.n > 4")
case("aggregate", "SELECT soc, count(*) FROM person GROUP BY ROLLUP (soc)")
case("aggregate", "SELECT soc, score, count(*) FROM person GROUP BY GROUPING SETS ((soc), (score), ())")
case("distinct", "SELECT DISTINCT soc FROM person")
case("distinct", "SELECT DISTINCT name FROM person WHERE soc = 1")
case("distinct", "SELECT DISTINCT ON (soc) soc, name FROM person ORDER BY soc, score DESC, id")
case("distinct", "SELECT count(DISTINCT soc) FROM person WHERE score > 10")
case("window", "SELECT id, row_number() OVER (ORDER BY score, id) FROM person", ids=[0])
case("window", "SELECT name, r FROM (SELECT name, rank() OVER (ORDER BY score, id) r FROM person) t WHERE r <= 2")
case("window", "SELECT name, s FROM (SELECT name, soc, sum(score) OVER (PARTITION BY soc) s FROM person) t WHERE soc = 1")
case("window", "SELECT lag(name) OVER (ORDER BY id) FROM person LIMIT 3", plan=False)
case("window", "SELECT name, sum(score) OVER (ORDER BY id) FROM person ORDER BY id LIMIT 3")

# ---- set operations
case("set operation", "SELECT id FROM person WHERE score > 10 UNION SELECT person_id FROM msg", ids=[0], settings=["enable_hashagg=off"])
case("distinct", "SELECT DISTINCT soc FROM person WHERE soc = 2")
case("distinct", "SELECT DISTINCT ON (soc) soc, id FROM person WHERE soc = 2", ids=[1])
case("aggregate", "SELECT count(DISTINCT score), string_agg(name, ',' ORDER BY score) FROM person WHERE soc < 4")
case("set operation", "SELECT id FROM person WHERE soc = 1 UNION ALL SELECT person_id FROM msg WHERE n = 2", ids=[0])
case("set operation", "SELECT name FROM person WHERE soc = 1 UNION SELECT body FROM msg WHERE n = 2")
case("set operation", "SELECT soc FROM person WHERE score > 20 INTERSECT SELECT soc FROM person WHERE score < 30")
case("set operation", "SELECT id FROM person EXCEPT SELECT person_id FROM msg", ids=[0])
case("set operation", "(SELECT name FROM person ORDER BY score, id LIMIT 2) UNION ALL (SELECT body FROM msg ORDER BY n, id LIMIT 2)")

# ---- subqueries
case("subquery", "SELECT id, (SELECT count(*) FROM msg m WHERE m.person_id = p.id) FROM person p WHERE soc = 1", ids=[0])
case("subquery", "SELECT id FROM person WHERE score > (SELECT avg(score) FROM person)", ids=[0])
case("subquery", "SELECT id FROM person WHERE score = (SELECT max(score) FROM person)", ids=[0])
case("subquery", "SELECT id FROM person WHERE id NOT IN (SELECT person_id FROM msg WHERE n > 2)", ids=[0])
case("subquery", "SELECT id FROM person p WHERE score > ALL (SELECT n FROM msg m WHERE m.person_id = p.id)", ids=[0])
case("subquery", "SELECT s.name, (SELECT p.name FROM person p WHERE p.soc = s.id ORDER BY p.score, p.id LIMIT 1) FROM society s")
case("subquery", "SELECT ARRAY(SELECT name FROM person WHERE soc = 2 ORDER BY id)")
case("subquery", "SELECT CASE WHEN EXISTS (SELECT FROM person WHERE score > 48) THEN 'y' ELSE 'n' END")
case("subquery", "SELECT id, score IN (SELECT n * 10 FROM msg) FROM person WHERE soc = 3", ids=[0])
case("subquery", "SELECT (SELECT name FROM person WHERE id = 7)")

# ---- CTEs
case("cte", "WITH p AS (SELECT * FROM person WHERE soc = 1) SELECT id, name FROM p WHERE score > 20", ids=[0])
case("cte", "WITH p AS MATERIALIZED (SELECT * FROM person) SELECT name FROM p WHERE id = 3")
case("cte", "WITH p AS MATERIALIZED (SELECT name, soc FROM person) SELECT name FROM p WHERE soc = 3")
case("cte", "WITH p AS MATERIALIZED (SELECT * FROM person) SELECT count(*) FROM p")
case("cte", "WITH p AS MATERIALIZED (SELECT * FROM person ORDER BY score DESC, id LIMIT 3) SELECT a.name, b.name FROM p a JOIN p b ON a.id < b.id")
case("recursive", "WITH RECURSIVE r(id, d) AS (SELECT 1::bigint, 0 UNION ALL SELECT l.relative_id, d + 1 FROM r JOIN link l ON l.person_id = r.id WHERE d < 3) SELECT DISTINCT id FROM r WHERE id <> 1", ids=[0], plan=False)
case("modifying cte", "WITH d AS (DELETE FROM person WHERE id = 3 RETURNING id, name) SELECT * FROM d", ids=[0], plan=False)
case("modifying cte", "WITH d AS (UPDATE person SET score = 0 WHERE soc = 1) SELECT 1", "SELECT sum(score) FROM person", plan=False, writes="SELECT id FROM person WHERE soc = 1")

# ---- views, functions, RLS
case("view", "SELECT id, name FROM v_person WHERE soc = 1", ids=[0])
case("view", "SELECT name FROM v_barrier WHERE score > 20")
case("view", "SELECT * FROM v_counts")
case("function", "SELECT f_sql(2)")
case("function", "SELECT * FROM f_table(1)", plan=False)
case("function", "SELECT f_first(1)")
case("function", "SELECT f_loop(3)")
case("rls", "SET LOCAL ROLE oracle_reader", "SELECT id, name FROM restricted", ids=[0])
case("rls", "SET LOCAL ROLE oracle_reader", "SELECT count(*) FROM restricted")

# ---- cursors, prepared
case("cursor", "DECLARE c CURSOR FOR SELECT id, name FROM person ORDER BY id", "FETCH 3 FROM c", ids=[0])
case("cursor", "DECLARE c SCROLL CURSOR FOR SELECT id, name FROM person ORDER BY id", "MOVE 4 IN c", "FETCH BACKWARD 2 FROM c", ids=[0])
case("cursor", "DECLARE c CURSOR FOR SELECT id FROM person WHERE soc = 1 ORDER BY id FOR UPDATE", "FETCH 1 FROM c", ids=[0])
case("prepared", "PREPARE q(int) AS SELECT id, name FROM person WHERE id = $1", "EXECUTE q(4)", "DEALLOCATE q", name="prepared, custom plan")
case("prepared", "PREPARE q2(int) AS SELECT id, name FROM person WHERE soc = $1", "EXECUTE q2(1)", "DEALLOCATE q2", settings=["plan_cache_mode=force_generic_plan"], name="prepared, generic plan")

# ---- writes
case("update", "UPDATE person SET score = score + 1 WHERE soc = 1 RETURNING id, name", ids=[0])
case("update", "UPDATE person SET score = 0 WHERE id IN (SELECT person_id FROM msg WHERE n > 5)", "SELECT count(*) FROM society")
case("update", "UPDATE society s SET name = p.name FROM person p WHERE p.soc = s.id AND p.id = 2", "SELECT name FROM society")
case("delete", "DELETE FROM person WHERE score > 40 RETURNING id", ids=[0])
case("delete", "DELETE FROM msg USING person p WHERE p.id = person_id AND p.soc = 1 RETURNING msg.person_id", ids=[0])
case("insert", "INSERT INTO person (id, name, soc, score) VALUES (100, 'new', 1, 1) RETURNING id", ids=[0])
case("insert", "INSERT INTO copied SELECT id, name FROM person WHERE soc = 2", "SELECT * FROM copied", ids=[0])
case("on conflict", "INSERT INTO person (id, name, soc, score) VALUES (4, 'x', 1, 1) ON CONFLICT (id) DO UPDATE SET name = person.name || '!' RETURNING id, name", ids=[0])
case("on conflict", "INSERT INTO person (id, name, soc, score) VALUES (4, 'x', 1, 1), (101, 'y', 1, 1) ON CONFLICT DO NOTHING RETURNING id", ids=[0])
case("merge", "MERGE INTO person p USING (VALUES (3), (200)) v(id) ON p.id = v.id WHEN MATCHED THEN UPDATE SET score = 0 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm', 1, 0)", "SELECT name FROM society", plan=False, writes="VALUES (3), (200)")
case("merge", "MERGE INTO person p USING (VALUES (3), (200)) v(id) ON p.id = v.id WHEN MATCHED THEN UPDATE SET score = 0 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm', 1, 0) RETURNING merge_action(), p.id, p.name", plan=False, since=170000)
case("merge", "MERGE INTO person p USING (SELECT * FROM society WHERE id < 3) s ON p.soc = s.id WHEN NOT MATCHED BY SOURCE AND p.score > 20 THEN DELETE RETURNING p.id, p.name", ids=[0], plan=False, since=170000)
case("merge", "WITH w AS (MERGE INTO person p USING (SELECT person_id, count(*) AS n FROM msg GROUP BY person_id) m ON p.id = m.person_id WHEN MATCHED AND m.n > 1 THEN UPDATE SET score = m.n WHEN NOT MATCHED BY SOURCE THEN UPDATE SET score = 0 RETURNING p.id, merge_action() AS did) SELECT id, did FROM w WHERE did = 'UPDATE'", ids=[0], plan=False, since=170000)
case("merge", "MERGE INTO v_person v USING society s ON v.soc = s.id AND s.id < 3 WHEN MATCHED THEN DELETE RETURNING v.id", ids=[0], plan=False, since=170000)
case("json table", "SELECT p.id, j.x FROM person p, JSON_TABLE(jsonb_build_array(p.score, p.soc), '$[*]' COLUMNS (x int PATH '$')) j WHERE j.x > 20", ids=[0], since=170000)
case("ctas", "CREATE TABLE made AS SELECT name FROM person WHERE soc = 3", "SELECT * FROM made")

# ---- copy
case("copy", "COPY person TO STDOUT")
case("copy", "COPY person (name, score) TO STDOUT")
case("copy", "COPY (SELECT id FROM person WHERE soc = 1) TO STDOUT")

# ---- partitions and inheritance
case("partition", "SELECT id, name FROM parted WHERE soc = 2", ids=[0])
case("partition", "SELECT name FROM parted ORDER BY id LIMIT 3")
case("partition", "SELECT id FROM parted_1", ids=[0])
case("partition", "SELECT p.id, q.name FROM parted p JOIN person q ON q.id = p.id WHERE q.score > 20", ids=[0])
case("partition", "SELECT count(*) FROM parted")
case("inheritance", "SELECT id, name FROM base", ids=[0])
case("inheritance", "SELECT name FROM base ORDER BY id DESC LIMIT 2")

# ---- two subjects in a row
case("two subjects", "SELECT person_id, relative_id FROM link WHERE kind = 'child'", ids=[0, 1])
case("two subjects", "SELECT p.name, r.name FROM link l JOIN person p ON p.id = l.person_id JOIN person r ON r.id = l.relative_id WHERE l.kind = 'parent'")

# ---- parallel
case("parallel", "SELECT id, name FROM person WHERE score > 20", ids=[0], settings=PARALLEL, plan=False)
case("parallel", "SELECT count(*) FROM person", settings=PARALLEL, plan=False)
case("parallel", "SELECT soc, count(*) FROM person GROUP BY soc", settings=PARALLEL, plan=False)
case("parallel", "SELECT p.id, m.body FROM person p JOIN msg m ON m.person_id = p.id WHERE m.n > 2", ids=[0], settings=PARALLEL, plan=False)
case("parallel", "SELECT p.id FROM person p LEFT JOIN msg m ON m.person_id = p.id WHERE m.id IS NULL", ids=[0], settings=PARALLEL, plan=False)
case("parallel", "SELECT id FROM person p WHERE EXISTS (SELECT FROM msg m WHERE m.person_id = p.id AND m.n > 5)", ids=[0], settings=PARALLEL, plan=False)
case("parallel", "SELECT name FROM person ORDER BY score DESC, id LIMIT 3", settings=PARALLEL, plan=False)
case("parallel", "SELECT string_agg(name, ',' ORDER BY id) FROM person", settings=PARALLEL, plan=False)
case("parallel", "SELECT id, name FROM person WHERE score > 20", ids=[0], settings=PARALLEL + ["parallel_leader_participation=off"], plan=False)

# ---- errors
case("error", "SELECT id, 10 / (id - 6) FROM person ORDER BY id")
case("error", "SELECT name::int FROM person WHERE id = 3")
case("error", "SELECT 1 / (score - score) FROM person WHERE id = 4")

# ---- aimed: each of these fails if one rule is missing (test/oracle/mutate)
case("aggregate", "SELECT id = 3 FROM person GROUP BY id = 3")
case("aggregate", "SELECT id = 3 FROM person GROUP BY id = 3", settings=["enable_hashagg=off"])
case("distinct", "SELECT DISTINCT id = 3 FROM person", settings=["enable_hashagg=off"])
case("distinct", "SELECT DISTINCT id = 3 FROM person")
case("distinct", "SELECT name FROM (SELECT DISTINCT ON (soc) * FROM person ORDER BY soc, id) t WHERE t.id > 2")
case("window", "SELECT name, r FROM (SELECT name, rank() OVER (ORDER BY score, id) r FROM person) t WHERE name LIKE '%4'")
case("window", "SELECT name, n FROM (SELECT name, score, count(*) OVER () n FROM person) t WHERE score > 30")
for method, settings in JOINS.items():
    case("semi join", "SELECT s.name FROM society s WHERE EXISTS (SELECT FROM person p WHERE p.soc = s.id AND p.id IN (3, 7))", settings=settings + ["enable_hashagg=off", "enable_sort=off"])
    case("semi join", "SELECT s.name FROM society s WHERE s.id + 2 IN (SELECT person_id FROM msg)", settings=settings)
    case("semi join", "SELECT count(*) FROM society s WHERE EXISTS (SELECT FROM person p WHERE p.id = s.id + 3)", settings=settings)
case("limit", "SELECT name FROM (SELECT * FROM person ORDER BY id LIMIT 4) t WHERE id <> 2")
case("limit", "SELECT p.name FROM (SELECT * FROM person ORDER BY id LIMIT 4) p JOIN msg m ON m.person_id = p.id AND m.n > 6")
case("limit", "SELECT id, count(*) FROM (SELECT person_id AS id FROM msg ORDER BY id LIMIT 6) t GROUP BY id HAVING count(*) > 1", ids=[0])
case("recursive", "WITH RECURSIVE r(n, d) AS (SELECT score, 0 FROM person WHERE id = 3 UNION ALL SELECT n, d + 1 FROM r WHERE d < 2) SELECT count(*) FROM r")
case("recursive", "WITH RECURSIVE r(n) AS (SELECT score FROM person WHERE id = 3 UNION SELECT p.score FROM r JOIN person p ON p.score = r.n + 1) SELECT n FROM r")
case("cte", "WITH c AS MATERIALIZED (SELECT s.id, p.name FROM society s LEFT JOIN person p ON p.soc = s.id) SELECT name FROM c")
case("cte", "WITH c AS MATERIALIZED (SELECT name, soc FROM person ORDER BY id LIMIT 5) SELECT a.name FROM c a JOIN c b ON a.soc = b.soc AND a.name < b.name")
case("merge", "MERGE INTO person p USING (VALUES (3)) v(id) ON p.id = v.id WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm', 1, 0)", plan=False)
case("merge", "MERGE INTO person p USING msg m ON p.id = m.person_id AND m.id < 4 WHEN MATCHED AND m.n > 100 THEN DELETE WHEN NOT MATCHED AND m.n > 7 THEN INSERT VALUES (m.id + 300, 'm', 1, 0)", plan=False, writes="SELECT id + 300 FROM msg WHERE n > 7 AND (id >= 4 OR person_id IS NULL)")
case("merge", "MERGE INTO person p USING society s ON p.id = s.id WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'm', 1, 0)", plan=False, settings=JOINS["hash"])
case("merge", "MERGE INTO person p USING society s ON p.id = s.id WHEN MATCHED AND p.score > 100 THEN DELETE WHEN NOT MATCHED THEN DO NOTHING", plan=False, settings=JOINS["hash"])
case("merge", "MERGE INTO society s USING (SELECT a.id, b.n FROM person a LEFT JOIN msg b ON b.person_id = a.id AND b.n > 5) p ON p.id = s.id WHEN MATCHED AND p.n IS NULL THEN DELETE", "SELECT name FROM society", plan=False)
case("cte", "WITH c AS MATERIALIZED (SELECT name FROM person WHERE soc = 1 UNION ALL SELECT body FROM msg WHERE n = 2) SELECT * FROM c")
case("constraint", "INSERT INTO msg VALUES (5, NULL, 1, 'x')")
case("constraint", "UPDATE msg SET id = 6 WHERE person_id IS NULL")
case("constraint", "INSERT INTO late VALUES (100, 2)", "SET CONSTRAINTS ALL IMMEDIATE", writes="VALUES (100)")
case("constraint", "INSERT INTO ref VALUES (1, 3)")
case("on conflict", "INSERT INTO msg VALUES (5, NULL, 1, 'x'), (500, NULL, 1, 'x') ON CONFLICT DO NOTHING")
case("explain", "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT FROM person WHERE score > 1000", plan=False)

# ---- further constructs
case("aggregate", "SELECT soc, score > 20, count(*) FROM person GROUP BY CUBE (soc, score > 20)")
case("aggregate", "SELECT id, count(*) FROM person GROUP BY ROLLUP (id)", ids=[0])
case("aggregate", "SELECT p.id, max(m.n) FROM person p JOIN msg m ON m.person_id = p.id GROUP BY p.id HAVING max(m.n) > 4", ids=[0])
case("aggregate", "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY name) FROM person WHERE soc < 3")
case("aggregate", "SELECT jsonb_object_agg(id, name) FROM person WHERE soc = 3")
case("sample scan", "SELECT id FROM person TABLESAMPLE BERNOULLI (100) WHERE score > 10", ids=[0])
case("tid scan", "SELECT id FROM person WHERE ctid = ANY (ARRAY['(0,1)', '(0,4)']::tid[])", ids=[0])
case("index-only scan", "UPDATE person SET name = name || '!' WHERE id = 5", "SELECT score FROM person WHERE score >= 0", settings=["enable_seqscan=off", "enable_bitmapscan=off"], name="index-only after a HOT update")
case("cursor", "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM person WHERE soc < 3", "FETCH 2 FROM c")
case("cursor", "DECLARE c SCROLL CURSOR FOR SELECT id, name FROM person ORDER BY id", "FETCH LAST FROM c", ids=[0])
case("cursor", "DECLARE c CURSOR FOR SELECT id FROM person ORDER BY id", "MOVE 3 IN c", "FETCH NEXT FROM c", ids=[0])
case("lateral", "SELECT p.id, x.n FROM person p CROSS JOIN LATERAL (SELECT count(*) AS n FROM msg m WHERE m.person_id = p.id) x WHERE x.n > 1", ids=[0])
case("subquery", "SELECT id FROM person p WHERE (SELECT count(*) FROM msg m WHERE m.person_id = p.id) > 1", ids=[0])
case("subquery", "SELECT s.name FROM society s WHERE s.id <= (SELECT min(soc) FROM person WHERE score > 30)")
case("subquery", "SELECT ROW(id, name) = (SELECT id, name FROM person WHERE id = 4) FROM person WHERE id < 6")
case("view", "SELECT name FROM v_barrier WHERE name LIKE '%1%' AND score > 1")
case("view", "INSERT INTO v_instead VALUES (5, 'renamed')", "SELECT count(*) FROM society", writes="VALUES (5)")
case("rule", "DELETE FROM v_rule WHERE id = 6", "SELECT count(*) FROM society", writes="VALUES (6)")
case("trigger", "UPDATE msg SET n = n + 1 WHERE id < 4", "SELECT what FROM heard ORDER BY what")
case("modifying cte", "WITH i AS (INSERT INTO copied SELECT id, name FROM person WHERE soc = 2 RETURNING id) SELECT count(*) FROM i", plan=False)
case("modifying cte", "WITH d AS (DELETE FROM msg WHERE n > 5 RETURNING person_id) SELECT p.id FROM person p JOIN d ON d.person_id = p.id", ids=[0], plan=False)
case("prepared", "PREPARE q3 AS SELECT name FROM person ORDER BY score, id LIMIT 2", "EXECUTE q3", "EXECUTE q3", "DEALLOCATE q3", name="prepared, run twice")
case("set operation", "SELECT id FROM person WHERE soc < 3 INTERSECT SELECT person_id FROM msg", ids=[0])
case("set operation", "SELECT id FROM person WHERE soc < 3 INTERSECT ALL SELECT relative_id FROM link", ids=[0], settings=["enable_hashagg=off"])
case("set operation", "SELECT person_id FROM link EXCEPT ALL SELECT relative_id FROM link WHERE kind = 'child'", ids=[0])
case("set operation", "SELECT score FROM person WHERE soc = 1 EXCEPT SELECT score FROM person WHERE id = 3")
case("partition", "UPDATE parted SET soc = 2 WHERE id = 4 RETURNING id, name", ids=[0])
case("partition", "SELECT p.id FROM parted p WHERE NOT EXISTS (SELECT FROM parted q WHERE q.id = p.id + 1)", ids=[0])
case("inheritance", "DELETE FROM base WHERE id > 6 RETURNING id", ids=[0])
case("locking", "SELECT id, name FROM person WHERE soc = 1 FOR SHARE", ids=[0])
case("locking", "SELECT id FROM person WHERE score > 10 ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 2", ids=[0])
case("locking", "SELECT p.id FROM person p JOIN msg m ON m.person_id = p.id WHERE m.n > 5 FOR NO KEY UPDATE OF p", ids=[0])
case("ctas", "SELECT name INTO made FROM person WHERE soc = 1", "SELECT * FROM made")
case("ctas", "CREATE MATERIALIZED VIEW made AS SELECT name FROM person WHERE soc = 2", "SELECT * FROM made")
case("ctas", "CREATE MATERIALIZED VIEW made AS SELECT name FROM person WHERE soc = 2 WITH NO DATA", "REFRESH MATERIALIZED VIEW made", "SELECT * FROM made", name="refreshed materialized view")
case("limit", "SELECT s.name, p.name FROM society s LEFT JOIN person p ON p.soc = s.id ORDER BY p.score DESC, p.id, s.id LIMIT 3")
case("limit", "SELECT s.name, p.name FROM society s LEFT JOIN person p ON p.soc = s.id ORDER BY coalesce(p.score, 60), p.id, s.id LIMIT 3")
case("limit", "SELECT p.name, m.body FROM person p LEFT JOIN msg m ON m.person_id = p.id ORDER BY p.id, m.id LIMIT 4")
case("left join", "SELECT p.id, q.name FROM person p LEFT JOIN msg m ON m.person_id = p.id AND m.n > 5 LEFT JOIN person q ON q.id = m.n WHERE q.id IS NULL", ids=[0])
case("left join", "SELECT p.id, m.body FROM person p LEFT JOIN msg m ON m.person_id = p.id WHERE p.soc = 1", ids=[0])
case("full join", "SELECT p.name, m.body FROM person p FULL JOIN msg m ON m.person_id = p.id WHERE p.score IS NULL OR p.score > 30")
case("inner join", "SELECT count(*) FROM link l JOIN society s ON s.id = l.person_id")
case("set operation", "SELECT person_id FROM msg WHERE n < 6 INTERSECT SELECT id FROM person WHERE score > 20", ids=[0])

# ---- the extended protocol: portals with row limits, binary rows, Flush without Sync
case("portal", Bound("SELECT id, name FROM person WHERE soc = $1", params=["1"]), ids=[0])
case("portal", Bound("SELECT id, name, score FROM person WHERE id < $1", params=["6"], binary=True), ids=[0], name="binary rows")
case("portal", Bound("SELECT id, name FROM person ORDER BY id", 3), ids=[0], name="a row limit")
case("portal", Bound("SELECT id FROM person WHERE score >= 0", 2, 3), ids=[0], name="two row limits, Flush between")
case("portal", Bound("SELECT id FROM person WHERE soc < 3 ORDER BY score, id", 2, 2, 0), ids=[0], name="row limits to the end")
case("portal", Bound("SELECT name FROM person WHERE score >= 0", 4, binary=True), name="a row limit over a scan, binary")
case("portal", Bound("SELECT p.id, m.body FROM person p JOIN msg m ON m.person_id = p.id ORDER BY m.id", 5), ids=[0], settings=JOINS["hash"])
case("portal", Bound("SELECT p.id, m.body FROM person p JOIN msg m ON m.person_id = p.id", 3, 1), ids=[0], settings=JOINS["nestloop"])
case("portal", Bound("SELECT p.id FROM person p LEFT JOIN msg m ON m.person_id = p.id WHERE m.id IS NULL ORDER BY p.id", 1), ids=[0], settings=JOINS["merge"])
case("portal", Bound("SELECT soc, count(*) FROM person GROUP BY soc ORDER BY soc", 1))
case("portal", Bound("SELECT id FROM person ORDER BY id", 2, 3, pipeline=True), ids=[0], name="two row limits, pipelined")
case("portal", Bound("SELECT id FROM person ORDER BY id", 2, portal="a"), Bound("SELECT person_id FROM msg ORDER BY id", 2, portal="b"),
     Bound("", 3, portal="a"), ids=[0], name="two portals in turn")
case("portal", Bound("SELECT id FROM person ORDER BY id", 2, portal="a"), "FETCH 2 FROM a", ids=[0], name="FETCH from a portal")
case("portal", Bound("SELECT id FROM person ORDER BY id", 4, portal="a"), "CLOSE a", "SELECT name FROM society", name="a portal closed half read")
case("portal", Bound("SELECT id, name FROM person WHERE id = $1", params=["4"], statement="s"),
     Bound("SELECT id, name FROM person WHERE soc = $1 ORDER BY id", 1, params=["2"], statement="t"), ids=[0], name="named statements")
case("portal", *[Bound(f"SELECT id FROM person WHERE score > $1 /* {n} */", params=["20"]) for n in range(2)], ids=[0], settings=["plan_cache_mode=force_generic_plan"])
case("portal", Bound("UPDATE person SET score = score + 1 WHERE soc = 1 RETURNING id, name", 1), ids=[0], writes="SELECT id FROM person WHERE soc = 1")
case("portal", Bound("WITH d AS (DELETE FROM msg WHERE n > 5 RETURNING person_id) SELECT person_id FROM d", 1), ids=[0],
     writes="SELECT person_id FROM msg WHERE n > 5")
case("portal", Bound("COPY person (id, name) TO STDOUT"), writes="SELECT id FROM person", name="COPY as a portal")
case("portal", Bound("SELECT id, 10 / (id - 6) FROM person ORDER BY id", 3, 0), ids=[0], name="an error after rows have left")
case("portal", Bound("SELECT id, name FROM f_table($1) ORDER BY id", 1, params=["1"]), ids=[0])
case("portal", Bound("SELECT id, name FROM person WHERE score > 10", 3), ids=[0], settings=PARALLEL)
case("portal", Bound("SELECT count(*) FROM person WHERE score > $1::int", params=["20"]), settings=PARALLEL)
case("portal", Bound("SELECT id FROM person WHERE soc = 1 ORDER BY id FOR UPDATE", 2), ids=[0])
case("portal", Bound("SELECT name FROM (SELECT * FROM person ORDER BY score DESC, id LIMIT 6) t", 2))
case("portal", Bound("SHOW server_version_num"), name="a utility statement")
case("portal", "PREPARE q4 (int) AS SELECT id, name FROM person WHERE soc = $1", Bound("EXECUTE q4 (1)", 2), ids=[0], name="EXECUTE as a portal")

# ---- cursors that outlive their transaction, and moving in them
HELD = {"world": worlds.held(), "tidy": "CLOSE ALL; CALL tidy_held()"}
case("cursor", "DECLARE c CURSOR WITH HOLD FOR SELECT id, name FROM held ORDER BY id", "COMMIT", "FETCH 3 FROM c", ids=[0], name="WITH HOLD past its transaction", **HELD)
case("cursor", "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM held", "FETCH 2 FROM c", "COMMIT", "FETCH 2 FROM c", ids=[0], name="WITH HOLD, read before and after", **HELD)
case("cursor", "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM held ORDER BY id", "COMMIT", "FETCH LAST FROM c", "MOVE FIRST IN c", "FETCH 2 FROM c", ids=[0], name="SCROLL WITH HOLD", **HELD)
case("cursor", "DECLARE c CURSOR FOR SELECT id FROM person WHERE soc = 2", "MOVE 100 IN c")
case("cursor", "DECLARE c SCROLL CURSOR FOR SELECT id FROM person ORDER BY id", "MOVE FORWARD ALL IN c", "FETCH PRIOR FROM c", ids=[0])
case("cursor", "DECLARE c SCROLL CURSOR FOR SELECT id, name FROM person ORDER BY score, id", "MOVE ABSOLUTE 5 IN c", "FETCH RELATIVE -2 FROM c", ids=[0])
case("cursor", "DECLARE c SCROLL CURSOR FOR SELECT id FROM person", "FETCH ABSOLUTE -2 FROM c", ids=[0])
case("cursor", "DECLARE c BINARY CURSOR FOR SELECT name FROM person WHERE soc = 1 ORDER BY id", "FETCH 1 FROM c")
case("cursor", "DECLARE c CURSOR FOR SELECT name FROM person ORDER BY id", "MOVE 2 IN c", "FETCH 1 FROM c", "UPDATE person SET score = 0 WHERE CURRENT OF c RETURNING id, name", ids=[0])
case("cursor", "DECLARE c CURSOR FOR SELECT id FROM msg ORDER BY id FOR UPDATE", "FETCH 2 FROM c", "DELETE FROM msg WHERE CURRENT OF c RETURNING person_id", ids=[0])
case("cursor", "SELECT f_open('c')", "FETCH 2 FROM c", ids=[0])
case("cursor", "DECLARE c CURSOR FOR SELECT p.id, m.n FROM person p LEFT JOIN msg m ON m.person_id = p.id AND m.n > 4 ORDER BY p.id, m.id", "FETCH 4 FROM c", ids=[0])
case("cursor", "DECLARE c CURSOR FOR SELECT id FROM person ORDER BY id", "SAVEPOINT s", "FETCH 3 FROM c", "ROLLBACK TO s", "FETCH 2 FROM c", ids=[0], name="fetched in a subtransaction that is rolled back")

# ---- plans made before the table was watched
for mode in ("force_generic_plan", "auto"):
    case("prepared", "SELECT ward.unwatch('msg', 'person_id')", "PREPARE q5 (int) AS SELECT person_id, body FROM msg WHERE n > $1", "EXECUTE q5 (5)",
         "SELECT ward.watch('msg', 'person_id')", "EXECUTE q5 (5)", ids=[0], settings=[f"plan_cache_mode={mode}"], name=f"planned before the watch, {mode}")
case("prepared", "SELECT ward.unwatch('msg', 'person_id')", "SELECT f_msg(5)", "SELECT ward.watch('msg', 'person_id')", "SELECT f_msg(5)", name="a function planned before the watch")
case("prepared", "SELECT ward.unwatch('msg', 'person_id')", Bound("SELECT person_id FROM msg WHERE n > 5 ORDER BY id", 1, portal="a"),
     "SELECT ward.watch('msg', 'person_id')", Bound("SELECT person_id FROM msg WHERE n > 5"), ids=[0], name="a portal opened before the watch")
case("prepared", *["EXECUTE q6 (3)"] * 7, ids=[0], name="a plan that becomes generic", settings=["plan_cache_mode=auto"], before="PREPARE q6 (int) AS SELECT id, name FROM person WHERE id = $1")

# ---- functions, inlined or not
case("function", "SELECT f_set() LIMIT 2", ids=[0], plan=False)
case("function", "SELECT * FROM f_set() LIMIT 2", ids=[0], plan=False)
case("function", "SELECT id, name FROM f_definer(1)", ids=[0], plan=False)
case("function", "SELECT f_atomic(5)")
case("function", "SELECT f_two(6)")
case("function", "SELECT s.id FROM society s WHERE f_score(s.id) > 20")
case("function", "SELECT * FROM f_dynamic('score > 30')", ids=[0], plan=False)
case("function", "SELECT f_found(46), f_found(60)")
case("function", "SELECT f_caught(4)")
case("function", "SELECT f_raises(4)")
case("function", "SELECT f_only()")
case("function", "SELECT f_next()", ids=[0], plan=False)
case("function", "CALL p_find(7, NULL)")
case("function", "DO $$BEGIN PERFORM set_config('oracle.told', (SELECT name FROM person WHERE id = 3), true); END$$", "SELECT current_setting('oracle.told')")
case("function", "SELECT p.id, t.name FROM person p CROSS JOIN LATERAL f_table(p.soc) t WHERE p.id < 3", ids=[0])

# ---- views, row security, rules, triggers
case("view", "INSERT INTO v_check VALUES (300, 'x', 2, 1)")
case("view", "UPDATE v_check SET soc = 2 WHERE score > 20")
case("view", "SELECT name FROM v_nested WHERE society LIKE '%2'")
case("view", "UPDATE v_instead SET name = 'renamed' WHERE id = 5", "SELECT count(*) FROM society", writes="VALUES (5)")
case("view", "DELETE FROM v_instead WHERE id > 12", "SELECT count(*) FROM society", writes="SELECT id FROM person WHERE id > 12")
case("rls", "SET LOCAL ROLE oracle_reader", "SELECT id FROM v_invoker WHERE name LIKE '%3'", ids=[0])
case("rls", "SET LOCAL ROLE oracle_reader", "UPDATE restricted SET name = name || '!' WHERE id < 8")
case("rls", "SET LOCAL ROLE oracle_reader", "DELETE FROM restricted WHERE id > 8 RETURNING id", ids=[0])
case("rls", "SET LOCAL ROLE oracle_reader", "INSERT INTO restricted VALUES (400, 'x', 9)")
case("rls", "SET LOCAL ROLE oracle_reader", "INSERT INTO restricted VALUES (400, 'x', (SELECT min(soc) FROM person WHERE id < 4))", writes="VALUES (400)")
case("rule", "UPDATE v_rule SET name = 'renamed' WHERE id = 6 RETURNING id, name", ids=[0])
case("rule", "INSERT INTO inbox VALUES (4, 'x'), (5, 'y')", "SELECT what FROM heard")
case("trigger", "UPDATE note SET n = n + 10 WHERE id < 4 RETURNING id, n", ids=[0])
case("trigger", "UPDATE note SET n = n + 10", "SELECT what FROM heard")
case("trigger", "DELETE FROM note WHERE n = 1", "SELECT what FROM heard", writes="SELECT id FROM note WHERE n = 1")
case("trigger", "UPDATE note SET word = 'x' WHERE n = 2", "SELECT count(*) FROM society")

# ---- more of scans, joins and groups
case("bitmap scan", "SELECT id FROM person WHERE score > 10 AND id < 9", ids=[0], settings=["enable_seqscan=off", "enable_indexscan=off", "enable_indexonlyscan=off"])
case("bitmap scan", "SELECT count(*) FROM msg WHERE person_id = 3 OR id = 5", settings=["enable_seqscan=off", "enable_indexscan=off", "enable_indexonlyscan=off"])
case("bitmap scan", "SELECT p.id, m.n FROM person p JOIN msg m ON m.person_id = p.id AND m.n > 3", ids=[0], settings=["enable_seqscan=off", "enable_indexscan=off", "enable_indexonlyscan=off", *JOINS["nestloop"]])
case("tid scan", "SELECT name FROM person WHERE ctid >= '(0,10)'")
case("tid scan", "SELECT q.id, q.name FROM person p JOIN person q ON q.ctid = p.ctid WHERE p.score > 30", ids=[0], settings=JOINS["nestloop"])
case("sample scan", "SELECT count(*) FROM msg TABLESAMPLE BERNOULLI (100) REPEATABLE (1)")
case("sample scan", "SELECT p.id FROM person p TABLESAMPLE SYSTEM (100) JOIN msg m ON m.person_id = p.id AND m.n > 6", ids=[0])
case("index-only scan", "UPDATE person SET name = name || '!'", "SELECT score FROM person WHERE score < 20", settings=["enable_seqscan=off", "enable_bitmapscan=off"], name="index-only after HOT updates of all")
# The column that names the subject makes an index scan of it.
case("index-only scan", "SELECT p.score FROM society s JOIN person p ON p.score = s.id * 7", settings=["enable_seqscan=off", "enable_bitmapscan=off", *JOINS["nestloop"]], plan=False)
case("aggregate", "SELECT soc, grouping(soc), count(*) FROM person GROUP BY GROUPING SETS ((soc), ()) HAVING count(*) > 3", settings=["enable_hashagg=off"])
case("aggregate", "SELECT id, soc, count(*) FROM person WHERE id < 6 GROUP BY GROUPING SETS ((id), (soc))", ids=[0])
case("aggregate", "SELECT soc, count(*) FROM person GROUP BY soc HAVING every(score > 5)")
case("window", "SELECT name, sum(score) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM person WHERE soc < 3")
case("window", "SELECT DISTINCT first_value(name) OVER (PARTITION BY soc ORDER BY score, id) FROM person")
case("window", "SELECT id, n FROM (SELECT id, score, count(*) OVER (ORDER BY score RANGE BETWEEN 5 PRECEDING AND 5 FOLLOWING) n FROM person) t WHERE id = 4", ids=[0])
case("set operation", "SELECT person_id FROM msg WHERE n > 4 UNION SELECT relative_id FROM link UNION ALL SELECT id FROM person WHERE soc = 1", ids=[0])
case("set operation", "SELECT soc FROM person WHERE id < 4 EXCEPT ALL SELECT soc FROM person WHERE id > 10")
case("recursive", "WITH RECURSIVE r(id) AS (SELECT 1::bigint UNION ALL SELECT l.relative_id FROM r JOIN link l ON l.person_id = r.id) CYCLE id SET seen USING way SELECT id FROM r WHERE NOT seen AND id <> 1", ids=[0], plan=False)
case("recursive", "WITH RECURSIVE r(id, n) AS (SELECT id, 0 FROM person WHERE soc = 1 UNION ALL SELECT id, n + 1 FROM r WHERE n < 1) SEARCH BREADTH FIRST BY id SET o SELECT count(*) FROM r", plan=False)
case("subquery", "SELECT name FROM person WHERE (soc, score) IN (SELECT soc, max(score) FROM person GROUP BY soc)")
case("subquery", "SELECT s.name FROM society s WHERE 25 < ANY (SELECT score FROM person p WHERE p.soc = s.id)")
case("subquery", "SELECT id FROM person p WHERE score > (SELECT avg(score) FROM person q WHERE q.soc = p.soc)", ids=[0])
case("lateral", "SELECT s.id, x.top FROM society s CROSS JOIN LATERAL (SELECT max(score) AS top FROM person p WHERE p.soc = s.id) x")
case("whole row", "SELECT (p).name, p IS NULL FROM (SELECT q AS p FROM person q WHERE soc = 2) t")
case("system column", "SELECT tableoid::regclass, count(*) FROM base GROUP BY 1")

# ---- more of parallel plans
for leader in ("on", "off"):
    more = [*PARALLEL, f"parallel_leader_participation={leader}"]
    case("parallel", "SELECT p.id, m.n FROM person p JOIN msg m ON m.person_id = p.id AND m.n > 4", ids=[0], settings=more + JOINS["hash"], plan=False)
    case("parallel", "SELECT name FROM person ORDER BY score, id", settings=more, plan=False)
    case("parallel", "SELECT count(*) FROM parted", settings=more, plan=False)
    case("parallel", "SELECT id FROM person WHERE score = (SELECT max(score) FROM person)", ids=[0], settings=more, plan=False)
    case("parallel", "SELECT s.name FROM society s WHERE NOT EXISTS (SELECT FROM person p WHERE p.soc = s.id AND p.score > 45)", settings=more + JOINS["hash"], plan=False)
case("parallel", "SELECT score FROM person WHERE score > 10", settings=PARALLEL + ["enable_seqscan=off", "enable_bitmapscan=off", "parallel_leader_participation=off"], plan=False)
case("parallel", "CREATE TABLE made AS SELECT id, name FROM person WHERE score > 20", "SELECT * FROM made", ids=[0], settings=PARALLEL)

# ---- more of partitions, locks and writes
case("partition", "SELECT p.id, q.id FROM parted p JOIN parted q ON p.soc = q.soc AND p.id < q.id AND p.soc = 2", ids=[0, 1], settings=["enable_partitionwise_join=on"])
case("partition", "SELECT soc, count(*) FROM parted GROUP BY soc", settings=["enable_partitionwise_aggregate=on"])
case("partition", "SELECT name FROM parted WHERE soc = (SELECT min(soc) FROM person WHERE id = 2)")
case("partition", "DELETE FROM parted WHERE soc = 3 RETURNING id, name", ids=[0])
case("locking", "SELECT id FROM person WHERE soc = 2 FOR KEY SHARE NOWAIT", ids=[0])
case("locking", "SELECT s.name, p.id FROM society s LEFT JOIN person p ON p.soc = s.id AND p.score > 30 FOR UPDATE OF s", ids=[1])
case("locking", "SELECT name FROM person WHERE score > (SELECT avg(score) FROM person) ORDER BY id FOR SHARE SKIP LOCKED")
case("update", "UPDATE person p SET score = m.n FROM msg m WHERE m.person_id = p.id AND m.id = 3 RETURNING p.id", ids=[0])
case("update", "UPDATE society s SET name = (SELECT max(name) FROM person p WHERE p.soc = s.id)", "SELECT name FROM society")
case("delete", "DELETE FROM person p WHERE NOT EXISTS (SELECT FROM msg m WHERE m.person_id = p.id) RETURNING id", ids=[0])
case("delete", "DELETE FROM person WHERE id = 2", "SELECT id FROM visit", name="a cascade", writes="VALUES (2)")
case("insert", "INSERT INTO person SELECT id + 500, name, soc, score FROM person WHERE soc = 2 RETURNING id, name", writes="SELECT id + 500 FROM person WHERE soc = 2")
case("on conflict", "INSERT INTO person VALUES (4, 'x', 1, 1) ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE person.score > 1000")
case("on conflict", "INSERT INTO msg VALUES (5, 2, 1, 'x') ON CONFLICT (id) DO UPDATE SET n = (SELECT max(n) FROM msg) RETURNING person_id, n", ids=[0])
case("merge", "MERGE INTO person p USING (SELECT person_id, max(n) n FROM msg GROUP BY person_id) m ON m.person_id = p.id WHEN MATCHED AND m.n > 5 THEN UPDATE SET score = m.n WHEN MATCHED AND EXISTS (SELECT FROM link l WHERE l.person_id = p.id AND l.kind = 'child') THEN DELETE", plan=False)
case("merge", "MERGE INTO parted t USING person p ON p.id = t.id AND p.score > 20 WHEN MATCHED THEN UPDATE SET soc = 2", plan=False)
case("copy", "COPY (SELECT p.name FROM person p JOIN msg m ON m.person_id = p.id AND m.n > 6) TO STDOUT (FORMAT csv, HEADER)")
case("copy", "COPY (DELETE FROM msg WHERE n > 6 RETURNING id) TO STDOUT", writes="SELECT person_id FROM msg WHERE n > 6")
case("copy", "COPY booking FROM STDIN\n50\t[900,901)\n51\t[902,903)\n", writes="VALUES (50), (51)")
case("copy", "COPY booking FROM STDIN\n50\t[900,901)\n51\t[11,12)\n")
case("ctas", "REFRESH MATERIALIZED VIEW shown", "UPDATE person SET name = name || '!' WHERE id < 7", "REFRESH MATERIALIZED VIEW CONCURRENTLY shown", "SELECT id, name FROM shown", ids=[0], name="REFRESH CONCURRENTLY")
case("ctas", "CREATE TABLE made AS EXECUTE q7", "SELECT name FROM made", before="PREPARE q7 AS SELECT name FROM person WHERE soc = 2")

# ---- constraints, errors, and what is evaluated for every row
case("constraint", "INSERT INTO booking VALUES (60, '[11,12)')")
case("constraint", "UPDATE booking SET span = '[20,21)' WHERE id = 3")
case("constraint", "DELETE FROM person WHERE id = 3", before="INSERT INTO ref VALUES (1, 3)")
case("error", "UPDATE note SET word = CASE WHEN n = 1 THEN 'bad' ELSE word END WHERE n < 2")
case("error", "SELECT (SELECT name FROM person WHERE soc = 1)")
case("error", "SELECT count(*) FROM person WHERE 10 / (score - score) > id")
case("error", "SELECT (ARRAY['x'])[id]::int FROM person WHERE id < 3")
case("utility", "ALTER TABLE person ADD CHECK (id <> 7)")
case("utility", "ALTER TABLE person ALTER score SET NOT NULL")
case("utility", "ALTER TABLE person ALTER name TYPE int USING substr(name, 8)::int / (id - 5)")
case("utility", "CREATE INDEX ON person ((10 / (id - 9)))")
case("utility", "CREATE UNIQUE INDEX ON person (score)")
case("utility", "CREATE INDEX ON person (name) WHERE 10 / (id - 4) > 0")
case("utility", "ALTER TABLE msg ADD FOREIGN KEY (n) REFERENCES society")
case("utility", "CREATE STATISTICS together (mcv) ON soc, score FROM person", "ANALYZE person", "SELECT m.values FROM pg_statistic_ext_data d, pg_mcv_list_items(d.stxdmcv) m")
case("utility", "ANALYZE person", "SELECT histogram_bounds FROM pg_stats WHERE tablename = 'person' AND attname = 'name'")
case("utility", "TRUNCATE letter", "SELECT count(*) FROM society", writes="SELECT id FROM letter")
case("explain", "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT p.name FROM person p JOIN msg m ON m.person_id = p.id WHERE m.n > 6", plan=False)
EXPLAIN = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)"
case("explain", f"{EXPLAIN} SELECT name FROM person WHERE id = 4 AND score > 1000", settings=["enable_seqscan=off", "enable_bitmapscan=off"], plan=False)
case("explain", f"{EXPLAIN} SELECT name FROM person WHERE score BETWEEN 10 AND 30 AND name LIKE '%4'", settings=["enable_seqscan=off", "enable_bitmapscan=off"], plan=False)
case("explain", f"{EXPLAIN} SELECT score FROM person WHERE score > 30", settings=["enable_seqscan=off", "enable_bitmapscan=off"], plan=False)
case("explain", f"{EXPLAIN} SELECT id FROM person WHERE score > 30 AND id < 9", settings=["enable_seqscan=off", "enable_indexscan=off", "enable_indexonlyscan=off"], plan=False)
case("explain", f"{EXPLAIN} CREATE TABLE made AS SELECT name FROM person WHERE score > 1000", plan=False)
case("explain", f"{EXPLAIN} EXECUTE q8 (4)", before="PREPARE q8 (int) AS SELECT name FROM person WHERE id > $1 ORDER BY id LIMIT 2")
case("explain", f"{EXPLAIN} SELECT s.name FROM society s WHERE EXISTS (SELECT FROM person p WHERE p.soc = s.id AND p.id IN (3, 7))", settings=JOINS["nestloop"], plan=False)
case("explain", f"{EXPLAIN} SELECT s.name FROM society s LEFT JOIN person p ON p.soc = s.id AND p.score > 40", settings=JOINS["hash"], plan=False)
case("explain", f"{EXPLAIN} SELECT name FROM person WHERE score > (SELECT max(n) * 5 FROM msg WHERE n < 6)", plan=False)
case("explain", f"{EXPLAIN} SELECT id FROM parted WHERE id > 6", plan=False)
case("explain", f"{EXPLAIN} UPDATE person SET score = 0 WHERE id < 9 AND soc = 1", plan=False, writes="SELECT id FROM person WHERE id < 9 AND soc = 1")
case("explain", f"{EXPLAIN} INSERT INTO person VALUES (4, 'x', 1, 1) ON CONFLICT DO NOTHING", plan=False)
case("explain", f"{EXPLAIN} SELECT count(*) FROM person WHERE score > 20", settings=PARALLEL, plan=False)
case("explain", f"{EXPLAIN} WITH d AS (DELETE FROM msg WHERE n > 6 RETURNING person_id) SELECT count(*) FROM d", plan=False)

# ---- where a table's rows stand besides
case("toast", "SELECT id, length(body) FROM letter WHERE id < 4", ids=[0])
case("toast", "SELECT substr(body, 8, 1) FROM letter WHERE id = 2")
case("toast", "SELECT f_toast()")
case("foreign table", "SELECT back()", "SELECT id, name FROM far_person WHERE soc = 1", ids=[0])
case("foreign table", "SELECT back()", "SELECT id FROM far_person ORDER BY id LIMIT 3", ids=[0])
case("foreign table", "SELECT back()", "SELECT f.id FROM far_person f JOIN society s ON s.id = f.id", ids=[0])
