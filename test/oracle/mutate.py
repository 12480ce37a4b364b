"""Rules of capture that the oracle must miss when one of them is switched off.

Each is the reason that its records bear, or their manner where they bear none; see
extension/witness/README.md. Those that only a race or a failure of the look-up shows
(recheck, violation and conflict as everybody) are in test/isolation and sql/ instead.
"""

RULES = [
    "row", "write", "aggregate", "grouped", "distinct", "collected", "window", "small_aggregate",
    "semi_join", "anti_join", "outer_join", "limit", "offset", "set_operation", "recursive", "cte",
    "subquery", "subquery_condition", "written", "conflict", "violation", "explain", "error",
    "deferrable_constraint", "foreign_key",
]
