-- seal: new versions of keys, and moving stored values to them.

-- Behind what key.c reads by number.
ALTER TABLE _ward.key_version
	ADD COLUMN retired_at timestamptz,
	ADD COLUMN destroyed_at timestamptz;
ALTER TABLE _ward.key ADD COLUMN destroyed_at timestamptz;

CREATE FUNCTION _ward.key_by_name(key text) RETURNS integer
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	id integer;
BEGIN
	SELECT k.id INTO id FROM _ward.key k WHERE k.name = key_by_name.key;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'sealing key "%" does not exist', key
			USING ERRCODE = 'WD201', HINT = 'The view ward.keys lists the keys.';
	END IF;
	RETURN id;
END
$$;
REVOKE ALL ON FUNCTION _ward.key_by_name(text) FROM PUBLIC;

CREATE FUNCTION ward.rotate_key(key text, reason text) RETURNS integer
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer;
	old_version integer;
	new_version integer;
	secret bytea;
BEGIN
	PERFORM _ward.check_reason(key, reason);
	key_id := _ward.key_by_name(key);
	-- Two at a time would make the same version.
	PERFORM FROM _ward.key k WHERE k.id = key_id FOR UPDATE;
	SELECT max(v.version), max(v.version) FILTER (WHERE v.state = 'active') INTO new_version, old_version
	  FROM _ward.key_version v WHERE v.key = key_id;
	IF old_version IS NULL THEN
		RAISE EXCEPTION 'sealing key "%" is destroyed', key
			USING ERRCODE = 'WD203', HINT = 'Create a key of another name.';
	END IF;
	IF new_version >= 65535 THEN
		RAISE EXCEPTION 'sealing key "%" has no version number left', key
			USING ERRCODE = 'WD205', HINT = 'Create a key of another name, and move the columns to it.';
	END IF;
	new_version := new_version + 1;
	secret := _ward.new_secret();
	UPDATE _ward.key_version v SET state = 'retired', retired_at = pg_catalog.clock_timestamp()
	 WHERE v.key = key_id AND v.state = 'active';
	INSERT INTO _ward.key_version (key, version, state, fingerprint, wrapped)
	VALUES (key_id, new_version, 'active',
	        substr(secret, 1, length(secret) - 40), substr(secret, length(secret) - 39));
	PERFORM _ward.record_event('key.rotated', ARRAY['key', 'version', 'reason'],
	                           ARRAY[key, new_version::text, reason]);
	RETURN new_version;
END
$$;
REVOKE ALL ON FUNCTION ward.rotate_key(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.rotate_key(text, text) TO ward_officer;
COMMENT ON FUNCTION ward.rotate_key(text, text) IS
	'gives a key a new version, which seals from now on; the old one still opens. Equality tags stay. ward.reseal() moves what is stored';

-- Where values of a key are stored. A type holds sealed values if it is sealed, or
-- is an array, a domain or a composite type of what does.

-- The keys that a type with a modifier may hold values of; -1: of any.
CREATE FUNCTION _ward.keys_of_type(type oid, typmod integer) RETURNS SETOF integer
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
WITH RECURSIVE part (type, typmod) AS (
	SELECT $1, $2
	UNION
	SELECT inner_part.type, inner_part.typmod
	  FROM part p JOIN pg_catalog.pg_type t ON t.oid = p.type
	 CROSS JOIN LATERAL (
		SELECT t.typbasetype, CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE p.typmod END WHERE t.typtype = 'd'
		UNION ALL
		SELECT t.typelem, p.typmod WHERE t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A'
		UNION ALL
		SELECT a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
		 WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
	 ) inner_part (type, typmod))
SELECT DISTINCT p.typmod FROM part p WHERE _ward.is_sealed(p.type)
$$;
REVOKE ALL ON FUNCTION _ward.keys_of_type(oid, integer) FROM PUBLIC;

-- Tables and materialized views that may hold values of a key, and their columns.
-- Other sessions' temporary tables can be named but not read.
CREATE FUNCTION _ward.relations_of_key(key integer)
	RETURNS TABLE (relation oid, attnums smallint[], readable boolean)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
WITH RECURSIVE holder (type) AS (
	SELECT t.oid FROM pg_catalog.pg_type t WHERE _ward.is_sealed(t.oid)
	UNION
	SELECT t.oid FROM holder h JOIN pg_catalog.pg_type t
	    ON (t.typtype = 'd' AND t.typbasetype = h.type)
	    OR (t.typelem = h.type AND t.typlen = -1 AND t.typcategory = 'A')
	    OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
	                                     WHERE a.attrelid = t.typrelid AND a.atttypid = h.type
	                                       AND a.attnum > 0 AND NOT a.attisdropped)))
SELECT c.oid, pg_catalog.array_agg(a.attnum ORDER BY a.attnum),
       c.relpersistence <> 't' OR c.relnamespace = pg_catalog.pg_my_temp_schema()
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN holder h ON h.type = a.atttypid
 WHERE c.relkind IN ('r', 'm')
   AND EXISTS (SELECT FROM _ward.keys_of_type(a.atttypid, a.atttypmod) k (id) WHERE k.id IN ($1, -1))
 GROUP BY c.oid, c.relpersistence, c.relnamespace
$$;
REVOKE ALL ON FUNCTION _ward.relations_of_key(integer) FROM PUBLIC;

CREATE FUNCTION _ward.reseal_rows(relation oid, key integer, columns smallint[], first_block bigint,
                                  batch_rows integer, wait boolean,
                                  OUT next_block bigint, OUT rows bigint, OUT changed bigint, OUT locked bigint)
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_reseal_rows';
CREATE FUNCTION _ward.has_old(relation oid, key integer, columns smallint[]) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_has_old';
CREATE FUNCTION _ward.count_versions(relation oid, key integer, columns smallint[])
	RETURNS TABLE (attnum smallint, version integer, count bigint)
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'ward_seal_count_versions';
CREATE FUNCTION _ward.literal_versions(tree pg_node_tree, key integer) RETURNS integer[]
	LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'ward_seal_literal_versions';
REVOKE ALL ON FUNCTION _ward.reseal_rows(oid, integer, smallint[], bigint, integer, boolean),
	_ward.has_old(oid, integer, smallint[]), _ward.count_versions(oid, integer, smallint[]),
	_ward.literal_versions(pg_node_tree, integer) FROM PUBLIC;

-- A run of ward.reseal(): rounds over all relations, each in batches by blocks, until
-- one snapshot over all of them shows no old value. Not dumped: after a restore a run
-- starts anew.
CREATE TABLE _ward.reseal_run (
	key integer PRIMARY KEY REFERENCES _ward.key ON DELETE CASCADE,
	version integer NOT NULL,
	round integer NOT NULL DEFAULT 1,
	-- Transactions that could still store an old value when a round had ended.
	writers text[],
	started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	finished_at timestamptz
);
CREATE TABLE _ward.reseal_relation (
	key integer NOT NULL REFERENCES _ward.reseal_run ON DELETE CASCADE,
	relation oid NOT NULL,
	attnums smallint[] NOT NULL, -- as of the round's begin: finding them takes long
	next_block bigint, -- NULL: the round is over here
	filenode oid,
	locked bigint NOT NULL DEFAULT 0,  -- rows left out in this round
	changed bigint NOT NULL DEFAULT 0, -- values in this round
	rows_done bigint NOT NULL DEFAULT 0,
	values_done bigint NOT NULL DEFAULT 0,
	started_at timestamptz,
	updated_at timestamptz,
	PRIMARY KEY (key, relation)
);
REVOKE ALL ON _ward.reseal_run, _ward.reseal_relation FROM PUBLIC;
COMMENT ON TABLE _ward.reseal_run IS 'progress of ward.reseal() by key';
COMMENT ON TABLE _ward.reseal_relation IS 'progress of ward.reseal() by key and table';

CREATE FUNCTION ward.reseal_start(key text) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer := _ward.key_by_name(key);
	active integer;
BEGIN
	PERFORM FROM _ward.key k WHERE k.id = key_id FOR NO KEY UPDATE;
	SELECT v.version INTO active FROM _ward.key_version v WHERE v.key = key_id AND v.state = 'active';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'sealing key "%" is destroyed', key USING ERRCODE = 'WD203';
	END IF;
	-- One that was interrupted goes on, and other sessions join it.
	IF EXISTS (SELECT FROM _ward.reseal_run r WHERE r.key = key_id AND r.version = active AND r.finished_at IS NULL) THEN
		RETURN;
	END IF;
	DELETE FROM _ward.reseal_run r WHERE r.key = key_id;
	INSERT INTO _ward.reseal_run (key, version) VALUES (key_id, active);
	INSERT INTO _ward.reseal_relation (key, relation, attnums, next_block)
	SELECT key_id, r.relation, r.attnums, 0 FROM _ward.relations_of_key(key_id) r WHERE r.readable;
	PERFORM _ward.record_event('key.reseal_started', ARRAY['key', 'version'], ARRAY[key, active::text]);
END
$$;
REVOKE ALL ON FUNCTION ward.reseal_start(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.reseal_start(text) TO ward_officer;
COMMENT ON FUNCTION ward.reseal_start(text) IS
	'begins moving stored values of a key to its active version, or joins what was begun; ward.reseal() calls it';

-- Transactions of others that have written to one of the key's tables and are not
-- over: what they stored can't be seen yet.
CREATE FUNCTION _ward.reseal_writers(key integer) RETURNS text[]
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT coalesce(pg_catalog.array_agg(DISTINCT l.virtualtransaction || ':' || coalesce(l.pid, 0)), '{}')
  FROM pg_catalog.pg_locks l
  JOIN _ward.reseal_relation r ON r.key = $1 AND r.relation = l.relation
 WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
$$;
REVOKE ALL ON FUNCTION _ward.reseal_writers(integer) FROM PUBLIC;

-- All relations are through with a round: ends the run, or begins the next round.
-- The caller holds the run's row.
CREATE FUNCTION _ward.reseal_round(key_id integer, key text) RETURNS text
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	run _ward.reseal_run;
	dirty oid[];
BEGIN
	SELECT * INTO run FROM _ward.reseal_run r WHERE r.key = key_id;
	SELECT array_agg(r.relation) INTO dirty FROM _ward.reseal_relation r WHERE r.key = key_id AND r.locked > 0;
	IF dirty IS NULL THEN
		-- Values that were stored before the rotation, by transactions not yet over,
		-- must be in sight before anybody says that there are none.
		IF run.writers IS NULL THEN
			run.writers := _ward.reseal_writers(key_id);
		ELSE
			SELECT coalesce(array_agg(w), '{}') INTO run.writers FROM unnest(run.writers) w
			 WHERE w = ANY (_ward.reseal_writers(key_id));
		END IF;
		UPDATE _ward.reseal_run r SET writers = run.writers, updated_at = clock_timestamp() WHERE r.key = key_id;
		IF run.writers <> '{}' THEN
			RETURN 'waiting';
		END IF;
		-- One statement, one snapshot: rows that move between tables are seen once.
		SELECT array_agg(r.relation) INTO dirty
		  FROM _ward.relations_of_key(key_id) r
		 WHERE r.readable AND _ward.has_old(r.relation, key_id, r.attnums);
	END IF;
	IF dirty IS NULL THEN
		UPDATE _ward.reseal_run r SET finished_at = clock_timestamp(), updated_at = clock_timestamp() WHERE r.key = key_id;
		PERFORM _ward.record_event('key.reseal_finished', ARRAY['key', 'version', 'rows', 'values'],
		                           (SELECT ARRAY[reseal_round.key, run.version::text, coalesce(sum(r.rows_done), 0)::text, coalesce(sum(r.values_done), 0)::text]
		                              FROM _ward.reseal_relation r WHERE r.key = key_id));
		RETURN 'done';
	END IF;
	UPDATE _ward.reseal_run r SET round = r.round + 1, writers = NULL, updated_at = clock_timestamp() WHERE r.key = key_id;
	INSERT INTO _ward.reseal_relation AS r (key, relation, attnums, next_block)
	SELECT key_id, k.relation, k.attnums, 0 FROM _ward.relations_of_key(key_id) k WHERE k.relation = ANY (dirty)
		ON CONFLICT ON CONSTRAINT reseal_relation_pkey
		DO UPDATE SET attnums = excluded.attnums, next_block = 0, filenode = NULL, locked = 0, changed = 0;
	-- Dropped since: nothing is left there.
	UPDATE _ward.reseal_relation r SET locked = 0
	 WHERE r.key = key_id AND r.next_block IS NULL AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.relation);
	RETURN 'more';
END
$$;
REVOKE ALL ON FUNCTION _ward.reseal_round(integer, text) FROM PUBLIC;

CREATE FUNCTION ward.reseal_batch(key text, batch_rows integer DEFAULT 1000) RETURNS text
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer := _ward.key_by_name(key);
	run _ward.reseal_run;
	work _ward.reseal_relation;
	node oid;
	batch record;
BEGIN
	IF batch_rows IS NULL OR batch_rows < 1 THEN
		RAISE EXCEPTION 'a batch has at least one row' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT * INTO run FROM _ward.reseal_run r WHERE r.key = key_id;
	IF NOT FOUND OR run.finished_at IS NOT NULL THEN
		RETURN 'done';
	END IF;
	IF NOT EXISTS (SELECT FROM _ward.key_version v WHERE v.key = key_id AND v.version = run.version AND v.state = 'active') THEN
		PERFORM ward.reseal_start(key);
		RETURN 'more';
	END IF;
	SELECT * INTO work FROM _ward.reseal_relation r WHERE r.key = key_id AND r.next_block IS NOT NULL
	 ORDER BY r.relation LIMIT 1 FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		PERFORM FROM _ward.reseal_run r WHERE r.key = key_id FOR UPDATE SKIP LOCKED;
		IF NOT FOUND OR EXISTS (SELECT FROM _ward.reseal_relation r WHERE r.key = key_id AND r.next_block IS NOT NULL) THEN
			RETURN 'busy';
		END IF;
		RETURN _ward.reseal_round(key_id, key);
	END IF;
	-- A table that was rewritten has its rows in other places.
	node := pg_relation_filenode(work.relation);
	IF work.filenode IS DISTINCT FROM node THEN
		work.next_block := 0;
	END IF;
	SELECT * INTO batch
	  FROM _ward.reseal_rows(work.relation, key_id, work.attnums, work.next_block, batch_rows, run.round > 1);
	UPDATE _ward.reseal_relation r
	   SET next_block = batch.next_block, filenode = node,
	       locked = r.locked + batch.locked, changed = r.changed + batch.changed,
	       rows_done = r.rows_done + batch.rows, values_done = r.values_done + batch.changed,
	       started_at = coalesce(r.started_at, clock_timestamp()), updated_at = clock_timestamp()
	 WHERE r.key = key_id AND r.relation = work.relation
	RETURNING * INTO work;
	IF batch.next_block IS NULL AND work.changed > 0 THEN
		PERFORM _ward.record_event('key.resealed', ARRAY['key', 'version', 'relation', 'rows', 'values'],
		                           ARRAY[key, run.version::text, work.relation::regclass::text, work.rows_done::text, work.values_done::text]);
	END IF;
	RETURN 'more';
END
$$;
REVOKE ALL ON FUNCTION ward.reseal_batch(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.reseal_batch(text, integer) TO ward_officer;
COMMENT ON FUNCTION ward.reseal_batch(text, integer) IS
	'one batch of ward.reseal(), in the caller''s transaction: more, done, busy (another session has the rest) or waiting (for writers)';

-- With the rights of who calls, because a SECURITY DEFINER or SET clause would forbid
-- COMMIT; so every name in it is qualified.
CREATE PROCEDURE ward.reseal(key text, batch_rows integer DEFAULT 1000, pause interval DEFAULT '0')
	LANGUAGE plpgsql
	AS $$
DECLARE
	state text;
	naps integer := 0;
BEGIN
	PERFORM ward.reseal_start(key);
	COMMIT;
	LOOP
		state := ward.reseal_batch(key, batch_rows);
		COMMIT;
		EXIT WHEN state OPERATOR(pg_catalog.=) 'done';
		IF state OPERATOR(pg_catalog.=) 'more' THEN
			naps := 0;
			IF pause OPERATOR(pg_catalog.>) '0'::pg_catalog.interval THEN
				PERFORM pg_catalog.pg_sleep_for(pause);
			END IF;
		ELSE
			naps := pg_catalog.int4larger(1, pg_catalog.int4smaller(naps OPERATOR(pg_catalog.+) 1, 20));
			PERFORM pg_catalog.pg_sleep(0.05 OPERATOR(pg_catalog.*) naps::pg_catalog.float8);
		END IF;
		COMMIT;
	END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE ward.reseal(text, integer, interval) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE ward.reseal(text, integer, interval) TO ward_officer;
COMMENT ON PROCEDURE ward.reseal(text, integer, interval) IS
	'moves all stored values of a key to its active version, online, in batches that are committed one by one; can be interrupted, called again and run by several sessions';

CREATE VIEW ward.reseal_progress AS
SELECT k.name AS key, run.version, r.relation::regclass AS relation,
       (SELECT pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = r.relation AND a.attnum = ANY (r.attnums) AND NOT a.attisdropped) AS columns,
       CASE WHEN run.finished_at IS NOT NULL THEN 'done'
            WHEN r.next_block IS NULL AND run.writers <> '{}' THEN 'waiting for writers'
            WHEN r.next_block IS NULL AND r.locked > 0 THEN 'rows were locked'
            WHEN r.next_block IS NULL THEN 'to be verified'
            WHEN r.started_at IS NULL THEN 'not begun'
            ELSE 'running' END AS state,
       run.round, r.rows_done, r.values_done, r.locked AS rows_locked,
       CASE WHEN run.finished_at IS NOT NULL THEN 0
            WHEN r.next_block IS NULL THEN r.locked
            ELSE pg_catalog.ceil(greatest(c.reltuples, 0) * greatest(0, 1 - r.next_block::float8 /
                 greatest(1, pg_catalog.pg_relation_size(r.relation) / pg_catalog.current_setting('block_size')::bigint)))::bigint
            END AS rows_left_at_most,
       r.started_at, r.updated_at, run.finished_at
  FROM _ward.reseal_relation r
  JOIN _ward.reseal_run run ON run.key = r.key
  JOIN _ward.key k ON k.id = r.key
  JOIN pg_catalog.pg_class c ON c.oid = r.relation;
REVOKE ALL ON ward.reseal_progress FROM PUBLIC;
GRANT SELECT ON ward.reseal_progress TO ward_officer, ward_auditor;
COMMENT ON VIEW ward.reseal_progress IS
	'how far ward.reseal() is, by key and table; ward.key_versions_in_use() counts exactly';

-- Values in stored expressions, which only whoever wrote them can write again.
CREATE FUNCTION _ward.literals_of_key(key integer) RETURNS TABLE (location text, version integer, count bigint)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT pg_catalog.pg_describe_object(e.classid, e.objid, 0), v.version, pg_catalog.count(*)
  FROM (SELECT 'pg_rewrite'::regclass, oid, ev_action FROM pg_catalog.pg_rewrite
	UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_qual FROM pg_catalog.pg_rewrite
	UNION ALL SELECT 'pg_attrdef'::regclass, oid, adbin FROM pg_catalog.pg_attrdef
	UNION ALL SELECT 'pg_constraint'::regclass, oid, conbin FROM pg_catalog.pg_constraint
	UNION ALL SELECT 'pg_class'::regclass, indexrelid, indexprs FROM pg_catalog.pg_index
	UNION ALL SELECT 'pg_class'::regclass, indexrelid, indpred FROM pg_catalog.pg_index
	UNION ALL SELECT 'pg_class'::regclass, oid, relpartbound FROM pg_catalog.pg_class
	UNION ALL SELECT 'pg_class'::regclass, partrelid, partexprs FROM pg_catalog.pg_partitioned_table
	UNION ALL SELECT 'pg_policy'::regclass, oid, polqual FROM pg_catalog.pg_policy
	UNION ALL SELECT 'pg_policy'::regclass, oid, polwithcheck FROM pg_catalog.pg_policy
	UNION ALL SELECT 'pg_trigger'::regclass, oid, tgqual FROM pg_catalog.pg_trigger
	UNION ALL SELECT 'pg_proc'::regclass, oid, prosqlbody FROM pg_catalog.pg_proc
	UNION ALL SELECT 'pg_proc'::regclass, oid, proargdefaults FROM pg_catalog.pg_proc
	UNION ALL SELECT 'pg_type'::regclass, oid, typdefaultbin FROM pg_catalog.pg_type
	UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxexprs FROM pg_catalog.pg_statistic_ext
	UNION ALL SELECT 'pg_publication_rel'::regclass, oid, prqual FROM pg_catalog.pg_publication_rel
       ) e (classid, objid, tree)
 CROSS JOIN LATERAL pg_catalog.unnest(_ward.literal_versions(e.tree, $1)) v (version)
 WHERE e.tree IS NOT NULL AND e.objid >= 16384
 GROUP BY 1, 2
$$;
REVOKE ALL ON FUNCTION _ward.literals_of_key(integer) FROM PUBLIC;

-- Sessions whose transactions began before the version was out of use: they can still
-- see, and copy, what was stored under it.
CREATE FUNCTION _ward.old_transactions(key integer, version integer) RETURNS SETOF integer
	LANGUAGE sql VOLATILE
	SET search_path = pg_catalog, pg_temp
	AS $$
SELECT s.pid
  FROM pg_catalog.pg_stat_activity s, _ward.key_version v
 WHERE v.key = $1 AND v.version = $2
   AND s.datname = pg_catalog.current_database() AND s.pid <> pg_catalog.pg_backend_pid()
   AND s.backend_type NOT LIKE 'autovacuum%' AND (s.backend_xmin IS NOT NULL OR s.backend_xid IS NOT NULL)
   AND s.xact_start <= greatest(v.retired_at, (SELECT max(r.updated_at) FROM _ward.reseal_relation r WHERE r.key = $1))
$$;
REVOKE ALL ON FUNCTION _ward.old_transactions(integer, integer) FROM PUBLIC;

CREATE FUNCTION ward.key_versions_in_use(key text)
	RETURNS TABLE (version integer, state text, location text, uses bigint, can_be_destroyed boolean, advice text)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	key_id integer := _ward.key_by_name(key);
BEGIN
	RETURN QUERY
	WITH used AS (
		SELECT n.version, format('column %I of %s', a.attname, r.relation::regclass) AS location, n.count AS uses,
		       'run ward.reseal()' AS advice
		  FROM _ward.relations_of_key(key_id) r
		 CROSS JOIN LATERAL _ward.count_versions(r.relation, key_id, r.attnums) n
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.relation AND a.attnum = n.attnum
		 WHERE r.readable
		UNION ALL
		SELECT l.version, l.location, l.count, 'create it again from its definition, which seals the literal anew'
		  FROM _ward.literals_of_key(key_id) l
		UNION ALL
		SELECT v.version, format('temporary table %s of another session', r.relation::regclass), NULL, 'end that session'
		  FROM _ward.relations_of_key(key_id) r, _ward.key_version v
		 WHERE NOT r.readable AND v.key = key_id AND v.state = 'retired'
		UNION ALL
		SELECT v.version, format('transaction of process %s', o.pid), NULL, 'wait for its end, or end it: it began before the values were sealed anew'
		  FROM _ward.key_version v CROSS JOIN LATERAL _ward.old_transactions(key_id, v.version) o (pid)
		 WHERE v.key = key_id AND v.state = 'retired'
	)
	SELECT v.version, v.state, u.location, CASE WHEN u.location IS NULL THEN 0 ELSE u.uses END,
	       v.state = 'retired' AND u.location IS NULL,
	       CASE WHEN v.state = 'active' THEN 'it seals new values'
	            WHEN v.state = 'destroyed' AND u.location IS NULL THEN NULL
	            WHEN v.state = 'destroyed' THEN 'this can not be opened any more'
	            WHEN u.location IS NULL THEN 'it can be destroyed: ward.destroy_key_version()'
	            ELSE u.advice END
	  FROM _ward.key_version v LEFT JOIN used u ON u.version = v.version
	 WHERE v.key = key_id
	 ORDER BY 1, 3;
END
$$;
REVOKE ALL ON FUNCTION ward.key_versions_in_use(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ward.key_versions_in_use(text) TO ward_officer, ward_auditor;
COMMENT ON FUNCTION ward.key_versions_in_use(text) IS
	'reads every table that may hold values of the key and counts them by version and column, with literals in views, defaults and checks; says which version can be destroyed';
