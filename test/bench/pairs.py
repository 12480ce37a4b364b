"""What the benchmarks share: pairs that are run in turn, A B A B, of which the median of
the ratios counts, and the table of what was measured beside its budget."""
import os
import re
import statistics
import subprocess
import time

import psycopg2

RESULTS = []


def connect():
    connection = psycopg2.connect("")
    connection.autocommit = True
    return connection


def processor(connection):
    """Processor time that the server process behind a connection has used, in seconds."""
    with open(f"/proc/{connection.get_backend_pid()}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def seconds(cursor, statement, wall=False):
    """What a statement takes: the server process's processor time, which other work on
    the machine disturbs least, or time on the wall."""
    start = time.perf_counter() if wall else processor(cursor.connection)
    cursor.execute(statement)
    if cursor.description:
        cursor.fetchall()
    return (time.perf_counter() if wall else processor(cursor.connection)) - start


def note(what, value, budget, met, unit="x"):
    RESULTS.append((what, f"{value:.2f} {unit}" if isinstance(value, float) else value, budget, met))
    verdict = "" if met is None else f"budget {budget:18} {'met' if met else 'NOT MET'}"
    print(f"  {what:66} {RESULTS[-1][1]:>12}   {verdict}", flush=True)


def pair(cursor, a, b, rounds):
    """Median of A/B, each run right after the other."""
    seconds(cursor, a), seconds(cursor, b)
    return statistics.median(seconds(cursor, a) / seconds(cursor, b) for _ in range(rounds))


def pgbench(script, clients, duration):
    """Transactions a second, and microseconds of the backends' processor time for each."""
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("SELECT clock_timestamp()")
    begun = cursor.fetchone()[0]
    run = subprocess.Popen([os.path.join(os.environ["WARD_BINDIR"], "pgbench"), "-n", "-M", "prepared", "-c", str(clients),
                            "-j", "2", "-T", str(duration), "-f", script], stdout=subprocess.PIPE, text=True)
    spent, pids = {}, []
    while len(pids) < clients and run.poll() is None:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' AND backend_start >= %s", (begun,))
        pids = [row[0] for row in cursor.fetchall()]
    connection.close()
    while run.poll() is None:
        for pid in pids:
            try:
                with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
                    spent[pid] = int(file.read().split()[0]) / 1e3
            except OSError:
                pass
        time.sleep(0.02)
    out = run.stdout.read()
    if run.returncode != 0:
        raise RuntimeError("pgbench failed")
    return (float(re.search(r"tps = ([0-9.]+)", out).group(1)),
            sum(spent.values()) / int(re.search(r"processed: ([0-9]+)", out).group(1)))


def pgbench_pair(a, b, rounds, duration, clients=1):
    """Medians of tps A / tps B and of processor time A / B."""
    pgbench(a, clients, 1), pgbench(b, clients, 1)
    pairs = [(pgbench(a, clients, duration), pgbench(b, clients, duration)) for _ in range(rounds)]
    return statistics.median(a[0] / b[0] for a, b in pairs), statistics.median(a[1] / b[1] for a, b in pairs)


def table():
    print("\n| what | measured | budget | |\n|---|---|---|---|")
    for what, value, budget, met in RESULTS:
        print(f"| {what} | {value} | {budget} | {'' if met is None else 'met' if met else '**not met**'} |")
