// node-postgres: the extended protocol with parameters of every kind, prepared
// statements until their plans are generic, cursors, COPY, transactions, errors.
// Prints a line "step: result" for each step; the suite compares both databases' lines.
'use strict';
const { Client, types } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');

const say = (step, value) => console.log(`${step}: ${JSON.stringify(value)}`);

// A parameter whose type the client names, as some drivers always do.
class Typed {
  constructor(name, text, values, oids) {
    this.query = { name, text, values };
    this.oids = oids;
  }
  async run(client) {
    const connection = client.connection;
    const parse = connection.parse;
    connection.parse = (query, more) => parse.call(connection, { ...query, types: this.oids }, more);
    try {
      return (await client.query(this.query)).rows;
    } finally {
      connection.parse = parse;
    }
  }
}
const oid = { text: 25, varchar: 1043, int2: 21, int4: 23, int8: 20, date: 1082, timestamptz: 1184, bool: 16, uuid: 2950, jsonb: 3802, bytea: 17, textArray: 1009, int8Array: 1016 };

async function application(client) {
  const rows = async (text, values) => (await client.query(text, values)).rows;

  // Transactions, inserts with parameters of unknown type, RETURNING.
  await client.query('BEGIN');
  for (const [i, city] of ['Geneva', 'Nairobi', 'Bogota', 'Manila'].entries()) {
    await client.query('INSERT INTO office (id, code, city) VALUES ($1, $2, $3)', [i + 1, `O-${i + 1}`, city]);
  }
  await client.query('COMMIT');
  await client.query('BEGIN');
  await client.query("INSERT INTO office VALUES (9, 'O-9', 'nowhere')");
  await client.query('ROLLBACK');
  say('rolled back', await rows('SELECT count(*) FROM office'));
  for (let i = 1; i <= 60; i++) {
    await client.query(
      `INSERT INTO person (name, email, age, income, born, seen, active, token, extra, photo, office)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [`Name ${i % 20}`, i % 10 ? `p${i}@example.org` : null, 20 + (i % 30), `${i * 100}.50`,
        `19${50 + (i % 40)}-0${1 + (i % 9)}-15`, new Date(Date.UTC(2020, i % 12, 1, 12, i)), i % 3 > 0,
        `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, { n: i, tags: ['a', `t${i % 4}`] },
        Buffer.from([i, 0, 255]), `O-${1 + (i % 4)}`]);
  }
  say('returning', await rows('INSERT INTO person (name, age, born) VALUES ($1, $2, $3) RETURNING *', ['Ret', 1, '2001-02-03']));
  say('types', await rows('SELECT * FROM person WHERE id = 7'));
  say('javascript types', (await rows('SELECT * FROM person WHERE id = 7')).map((row) =>
    Object.entries(row).map(([k, v]) => `${k} ${Buffer.isBuffer(v) ? 'Buffer' : v instanceof Date ? 'Date' : typeof v}`)));
  say('described', (await client.query('SELECT name, age, born, active, extra FROM person LIMIT 0')).fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.dataTypeModifier]));

  // One row by each column, by parameters whose type is not said.
  for (const [column, value] of [['name', 'Name 7'], ['email', 'p7@example.org'], ['age', 27], ['income', 700.5], ['income', '700.500'],
    ['born', '1957-08-15'], ['seen', '2020-08-01T12:07:00Z'], ['active', false], ['token', '00000000-0000-4000-8000-000000000007'],
    ['extra', { tags: ['a', 't3'], n: 7 }], ['photo', Buffer.from([7, 0, 255])], ['office', 'O-2']]) {
    say(`by ${column}`, await rows(`SELECT id FROM person WHERE ${column} = $1 ORDER BY id`, [value]));
    say(`by other ${column}`, await rows(`SELECT count(*) FROM person WHERE ${column} <> $1`, [value]));
  }

  // A statement that has a name, seven times: the plan becomes generic at the sixth.
  for (let i = 1; i <= 7; i++) {
    say(`unknown ${i}`, await rows({ name: 'u', text: 'SELECT id, born, active FROM person WHERE name = $1 AND age = $2 ORDER BY id', values: [`Name ${i}`, 20 + i] }));
    say(`text ${i}`, await new Typed('t', 'SELECT id FROM person WHERE name = $1 ORDER BY id', [`Name ${i}`], [oid.text]).run(client));
    say(`varchar ${i}`, await new Typed('v', 'SELECT id FROM person WHERE name = $1 ORDER BY id', [`Name ${i}`], [oid.varchar]).run(client));
    say(`int2 ${i}`, await new Typed('i2', 'SELECT id FROM person WHERE age = $1 ORDER BY id', [20 + i], [oid.int2]).run(client));
    say(`int4 ${i}`, await new Typed('i4', 'SELECT id FROM person WHERE age = $1 ORDER BY id', [20 + i], [oid.int4]).run(client));
    say(`int8 ${i}`, await new Typed('i8', 'SELECT id FROM person WHERE age = $1 AND active = $2 ORDER BY id', [20 + i, true], [oid.int8, oid.bool]).run(client));
    say(`date ${i}`, await new Typed('d', 'SELECT id FROM person WHERE born = $1 OR seen = $2 ORDER BY id', ['1957-08-15', '2020-08-01T12:07:00Z'], [oid.date, oid.timestamptz]).run(client));
    say(`uuid ${i}`, await new Typed('id', 'SELECT id FROM person WHERE token = $1', [`00000000-0000-4000-8000-00000000000${i}`], [oid.uuid]).run(client));
    say(`jsonb ${i}`, await new Typed('j', 'SELECT id FROM person WHERE extra = $1', [{ n: i, tags: ['a', `t${i % 4}`] }], [oid.jsonb]).run(client));
    say(`bytea ${i}`, await new Typed('b', 'SELECT id FROM person WHERE photo = $1', [Buffer.from([i, 0, 255])], [oid.bytea]).run(client));
    say(`array ${i}`, await rows({ name: 'a', text: 'SELECT id FROM person WHERE name = ANY ($1) ORDER BY id', values: [[`Name ${i}`, 'Name 1', null]] }));
    say(`text[] ${i}`, await new Typed('ta', 'SELECT id FROM person WHERE name = ANY ($1) ORDER BY id', [[`Name ${i}`, 'Name 2']], [oid.textArray]).run(client));
    say(`int8[] ${i}`, await new Typed('ia', 'SELECT id FROM person WHERE age = ANY ($1) ORDER BY id', [[20 + i, 30]], [oid.int8Array]).run(client));
    say(`cast ${i}`, await rows({ name: 'c', text: 'SELECT id FROM person WHERE name = ANY ($1::text[]) AND age = $2::int AND born < $3::date ORDER BY id', values: [[`Name ${i}`], 20 + i, '1980-01-01'] }));
    say(`join ${i}`, await rows({ name: 'jo', text: 'SELECT p.id, o.city FROM person p JOIN office o ON o.code = p.office WHERE p.name = $1 ORDER BY p.id', values: [`Name ${i}`] }));
    say(`insert ${i}`, await rows({ name: 'in', text: 'INSERT INTO person (name, email, age, active) VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO UPDATE SET age = excluded.age RETURNING name, email, age, active', values: [`New ${i}`, `new${i % 3}@example.org`, i, i % 2 === 0] }));
    say(`update ${i}`, await rows({ name: 'up', text: 'UPDATE person SET income = income + $2, seen = $3 WHERE name = $1 RETURNING id, income, seen', values: [`Name ${i}`, i, new Date(Date.UTC(2021, 1, i))] }));
    say(`limit ${i}`, await rows({ name: 'l', text: 'SELECT name, born FROM person WHERE born BETWEEN $1 AND $2 ORDER BY born DESC, id LIMIT $3 OFFSET $4', values: ['1950-01-01', '1970-12-31', 4, i] }));
  }
  for (const n of [1, 2, 9, 20]) {
    const names = Array.from({ length: n }, (_, i) => `Name ${i}`);
    say(`IN ${n}`, await rows(`SELECT count(*), sum(age) FROM person WHERE name IN (${names.map((_, i) => `$${i + 1}`).join(', ')})`, names));
    say(`NOT IN ${n}`, await rows(`SELECT count(*) FROM person WHERE name NOT IN (${names.map((_, i) => `$${i + 1}`).join(', ')})`, names));
  }
  say('IN NULL', await rows('SELECT count(*) FROM person WHERE name IN ($1, $2)', ['Name 1', null]));
  say('NOT IN NULL', await rows('SELECT count(*) FROM person WHERE name NOT IN ($1, $2)', ['Name 1', null]));

  // What lists and reports do.
  say('like', await rows('SELECT id FROM person WHERE name LIKE $1 AND email ILIKE $2 ORDER BY id', ['Name 1%', '%@EXAMPLE.org']));
  say('functions', await rows("SELECT upper(name), length(name), name || $1, coalesce(email, 'none'), age + 1, born + 1, extra ->> 'n', extract(year FROM born)::int FROM person WHERE id < 12 ORDER BY id", ['!']));
  say('group', await rows('SELECT office, count(*), sum(income), min(born), max(name) FROM person GROUP BY office ORDER BY office'));
  say('having', await rows('SELECT name, count(*) AS n FROM person GROUP BY name HAVING count(*) > $1 ORDER BY n DESC, name LIMIT 5', [1]));
  say('distinct', await rows('SELECT DISTINCT office, active FROM person ORDER BY office, active'));
  say('union', await rows('SELECT name FROM person WHERE id < 5 UNION SELECT code FROM office ORDER BY name'));
  say('window', await rows('SELECT id, rank() OVER (PARTITION BY office ORDER BY age DESC, id) FROM person WHERE id < 15 ORDER BY id'));
  say('exists', await rows('SELECT city FROM office o WHERE NOT EXISTS (SELECT FROM person p WHERE p.office = o.code AND p.name = $1) ORDER BY city', ['Name 1']));
  say('across keys', await rows('SELECT count(*) FROM person p JOIN office o ON o.code = p.email'));
  say('case', await rows("SELECT CASE WHEN active THEN name ELSE 'away' END AS shown FROM person WHERE id < 6 ORDER BY id"));
  say('json', await rows('SELECT to_jsonb(p) AS p FROM person p WHERE id = 3'));
  say('arrays', await rows('SELECT array_agg(name ORDER BY id) AS names, array_agg(age ORDER BY id) AS ages FROM person WHERE id < 5'));
  say('where active', await rows('SELECT count(*) FROM person WHERE active AND NOT (age = $1)', [21]));

  // Cursors, COPY both ways.
  const cursor = client.query(new Cursor('SELECT id, name, born FROM person ORDER BY name, id'));
  for (let batch = 1; batch <= 3; batch++) say(`cursor ${batch}`, await cursor.read(7));
  await cursor.close();
  await client.query('BEGIN');
  await client.query('DECLARE c SCROLL CURSOR FOR SELECT id, name FROM person WHERE office = \'O-1\' ORDER BY id');
  say('fetch', await rows('FETCH 3 FROM c'));
  say('fetch back', await rows('FETCH BACKWARD 1 FROM c'));
  await client.query('COMMIT');
  await pipeline(Readable.from(['201\tCopied one\tc1@example.org\t41\t2000-01-01\tt\n', '202\tCopied two\t\\N\t42\t2000-01-02\tf\n']),
    client.query(copy.from('COPY person (id, name, email, age, born, active) FROM STDIN')));
  let out = '';
  for await (const chunk of client.query(copy.to('COPY (SELECT * FROM person WHERE id > 200 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)'))) out += chunk;
  say('copied', out);

  // Errors are the same errors.
  for (const [step, text, values] of [
    ['unique', 'INSERT INTO person (name, email) VALUES ($1, $2)', ['x', 'p1@example.org']],
    ['check', 'INSERT INTO person (name) VALUES ($1)', ['']],
    ['not null', 'INSERT INTO person (name) VALUES ($1)', [null]],
    ['foreign key', 'INSERT INTO person (name, office) VALUES ($1, $2)', ['x', 'O-77']],
    ['bad number', 'SELECT id FROM person WHERE age = $1', ['four']],
    ['bad date', 'SELECT id FROM person WHERE born = $1', ['yesteryear']],
    ['restrict', 'SELECT 1 / (age - 27) FROM person WHERE id = $1', [7]],
  ]) {
    try {
      await client.query(text, values);
      say(`error ${step}`, 'none');
    } catch (error) {
      say(`error ${step}`, [error.code, error.constraint || null, error.column || null]);
    }
  }
  say('rename office', await rows("UPDATE office SET code = 'O-new' WHERE code = $1 RETURNING code", ['O-1']));
  say('cascaded', await rows('SELECT count(*) FROM person WHERE office = $1', ['O-new']));
  say('delete', (await client.query('DELETE FROM office WHERE code IN ($1, $2)', ['O-new', 'O-3'])).rowCount);
  say('deleted', await rows('SELECT count(*) FROM person'));
}

// The role without the right: finds, writes, and sees ciphertext in its place.
async function clerk(client, sealed) {
  const rows = async (text, values) => (await client.query(text, values)).rows;
  const hidden = (value) => typeof value === 'string' && value.startsWith('\\sealed:');
  const [row] = await rows("SELECT * FROM person WHERE email = $1 AND name = ANY ($2)", ['p7@example.org', ['Name 7']]);
  say('clerk finds', row.id);
  say('clerk sees', Object.keys(row).map((column) => [column, sealed && column !== 'id' ? hidden(row[column]) : true]));
  say('clerk counts', await rows('SELECT count(*) FROM person WHERE office = $1', ['O-2']));
  say('clerk groups', (await rows('SELECT count(*) FROM person GROUP BY name ORDER BY 1')));
  say('clerk writes', await rows('INSERT INTO person (name, age, born, active) VALUES ($1, $2, $3, $4) RETURNING id > 0 AS written', ['By clerk', 33, '1999-09-09', false]));
  for (const [step, text] of [['casts', 'SELECT born::date FROM person'], ['orders', 'SELECT id FROM person ORDER BY name'], ['opens', 'SELECT upper(name) FROM person']]) {
    try {
      await client.query(text);
      say(`clerk ${step}`, sealed ? 'no error' : '42501');
    } catch (error) {
      say(`clerk ${step}`, error.code);
    }
  }
}

(async () => {
  const sealed = process.argv[2] === 'sealed';
  const client = new Client({ database: process.argv[2], user: 'app' });
  await client.connect();
  await application(client);
  await client.end();
  const other = new Client({ database: process.argv[2], user: 'clerk' });
  await other.connect();
  await clerk(other, sealed);
  await other.end();
})().catch((error) => {
  console.log(`failed: ${error.stack}`);
  process.exit(1);
});
