// TypeORM: its own migrations make the tables, an officer protects text columns, a
// later migration adds columns, sealed where the database is the sealed one.  Then the
// application, which knows of plain types alone, by repository and by query builder.
'use strict';
require('reflect-metadata');
const { Client } = require('pg');
const { DataSource, EntitySchema, In, Not, Like, ILike, IsNull, Between, Any, Raw, MoreThan, Table, TableColumn, TableIndex, TableForeignKey } = require('typeorm');

const say = (step, value) => console.log(`${step}: ${JSON.stringify(value)}`);
const database = process.argv[2];
const sealed = database === 'sealed';
const type = (name) => (sealed ? `sealed_${name}('app.contact')` : { int8: 'bigint' }[name] || name);

const Team = new EntitySchema({
  name: 'Team', tableName: 'team',
  columns: { id: { type: 'int', primary: true, generated: true }, code: { type: 'text', unique: true }, city: { type: 'varchar', length: 40 } },
  relations: { members: { type: 'one-to-many', target: 'Member', inverseSide: 'team' } },
});
const Member = new EntitySchema({
  name: 'Member', tableName: 'member',
  columns: {
    id: { type: 'int', primary: true, generated: true },
    name: { type: 'text' }, email: { type: 'varchar', length: 60, unique: true, nullable: true },
    born: { type: 'date', nullable: true }, seen: { type: 'timestamptz', nullable: true }, active: { type: 'boolean', nullable: true },
    points: { type: 'bigint', nullable: true }, rate: { type: 'numeric', nullable: true }, extra: { type: 'jsonb', nullable: true },
    token: { type: 'uuid', nullable: true }, photo: { type: 'bytea', nullable: true },
  },
  relations: { team: { type: 'many-to-one', target: 'Team', inverseSide: 'members', nullable: true, joinColumn: { name: 'teamCode', referencedColumnName: 'code' }, onDelete: 'CASCADE' } },
});

class Tables1700000000001 {
  async up(runner) {
    await runner.createTable(new Table({ name: 'team', columns: [
      { name: 'id', type: 'int', isPrimary: true, isGenerated: true, generationStrategy: 'increment' },
      { name: 'code', type: 'text', isUnique: true }, { name: 'city', type: 'varchar', length: '40' }] }));
    await runner.createTable(new Table({ name: 'member', columns: [
      { name: 'id', type: 'int', isPrimary: true, isGenerated: true, generationStrategy: 'increment' },
      { name: 'name', type: 'text' }, { name: 'email', type: 'varchar', length: '60', isNullable: true, isUnique: true },
      { name: 'teamCode', type: 'text', isNullable: true }],
    checks: [{ name: 'member_named', expression: "name <> ''" }] }));
    await runner.createIndex('member', new TableIndex({ name: 'member_name', columnNames: ['name'] }));
    await runner.createForeignKey('member', new TableForeignKey({ columnNames: ['teamCode'], referencedTableName: 'team', referencedColumnNames: ['code'], onDelete: 'CASCADE' }));
  }
  async down(runner) { await runner.dropTable('member'); await runner.dropTable('team'); }
}
class Columns1700000000002 {
  async up(runner) {
    for (const [name, kind] of [['born', 'date'], ['seen', 'timestamptz'], ['active', 'bool'], ['points', 'int8'], ['rate', 'numeric'], ['extra', 'jsonb'], ['token', 'uuid'], ['photo', 'bytea']])
      await runner.addColumn('member', new TableColumn({ name, type: type(kind), isNullable: true }));
    await runner.createIndex('member', new TableIndex({ name: 'member_born', columnNames: ['born'] }));
  }
  async down(runner) { for (const name of ['born', 'seen', 'active', 'points', 'rate', 'extra', 'token', 'photo']) await runner.dropColumn('member', name); }
}

const options = (migrations, user = 'app') => new DataSource({ type: 'postgres', host: process.env.PGHOST, port: Number(process.env.PGPORT), username: user, database, entities: [Team, Member], migrations, logging: false });

async function protect() {
  const officer = new Client({ database, user: 'postgres' });
  await officer.connect();
  await officer.query("SELECT ward.protect('team', 'code', 'app.identity')");
  await officer.query("SELECT ward.protect('member', 'name', 'app.identity'), ward.protect('member', 'email', 'app.contact')");
  await officer.end();
}

async function application(source) {
  const teams = source.getRepository('Team');
  const members = source.getRepository('Member');

  await teams.save([{ code: 'T-1', city: 'Geneva' }, { code: 'T-2', city: 'Nairobi' }, { code: 'T-3', city: 'Bogota' }]);
  const all = await teams.find({ order: { code: 'ASC' } });
  for (let i = 1; i <= 30; i++)
    await members.save({ name: `Name ${i % 10}`, email: i % 5 ? `m${i}@example.org` : null, team: all[i % 3], born: `19${60 + i}-02-0${1 + (i % 9)}`, seen: new Date(Date.UTC(2022, 1, i)),
      active: i % 3 === 0, points: String(i * 1000), rate: `${i}.25`, extra: { n: i, list: [i, 'x'] }, token: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, photo: Buffer.from([i]) });
  say('insert returns', await members.insert([{ name: 'Bulk 1', email: 'b1@example.org', points: '1' }, { name: 'Bulk 2', active: true }]).then((r) => r.identifiers));
  say('one', await members.findOneBy({ email: 'm7@example.org' }));
  say('relation', await members.findOne({ where: { name: 'Name 3', team: { code: 'T-1' } }, relations: { team: true } }));
  say('by date', await members.findBy({ born: '1967-02-08' }));
  say('by boolean', await members.countBy({ active: true }));
  say('by number', await members.findBy({ points: '7000' }));
  say('by several', await members.findBy({ rate: '7.25', token: '00000000-0000-4000-8000-000000000007', seen: new Date(Date.UTC(2022, 1, 7)) }));
  say('in', await members.find({ select: ['id', 'name'], where: { name: In(['Name 1', 'Name 2', 'nobody']) }, order: { id: 'ASC' } }));
  say('not in', await members.countBy({ name: Not(In(['Name 1', 'Name 2'])) }));
  say('any', await members.countBy({ name: Any(['Name 1', 'Bulk 1']) }));
  say('not', await members.countBy({ name: Not('Name 1') }));
  say('null', await members.countBy({ email: IsNull() }));
  say('like', await members.find({ select: ['id', 'email'], where: { email: Like('m1%'), name: ILike('NAME%') }, order: { email: 'DESC' } }));
  say('between', await members.find({ select: ['id', 'born'], where: { born: Between('1965-01-01', '1970-01-01'), points: MoreThan(100) }, order: { born: 'ASC' } }));
  say('raw', await members.countBy({ name: Raw((alias) => `lower(${alias}) = :name`, { name: 'name 4' }) }));
  say('page', await members.findAndCount({ select: ['id', 'name'], where: { active: true }, order: { name: 'DESC', id: 'ASC' }, skip: 2, take: 3 }));
  say('page with relation', await members.findAndCount({ relations: { team: true }, order: { name: 'ASC', id: 'ASC' }, skip: 3, take: 4 }));
  say('members of teams', (await teams.find({ relations: { members: true }, order: { code: 'DESC', members: { name: 'ASC', id: 'ASC' } } })).map((t) => [t.code, t.members.map((m) => m.name)]));
  say('sum', [await members.sum('points', { active: true }), await members.maximum('rate'), await members.minimum('points')]);

  const builder = () => members.createQueryBuilder('m');
  say('query builder', await builder().leftJoinAndSelect('m.team', 't').where('m.name IN (:...names)', { names: Array.from({ length: 12 }, (_, i) => `Name ${i}`) })
    .andWhere('t.code = :code', { code: 'T-2' }).orderBy('m.name').addOrderBy('m.id').limit(5).getMany());
  say('group', await builder().select('m.name', 'name').addSelect('count(*)', 'n').groupBy('m.name').having('count(*) > :n', { n: 1 }).orderBy('m.name').getRawMany());
  say('group joined', await builder().innerJoin('m.team', 't').select('t.city', 'city').addSelect('max(m.born)', 'youngest').groupBy('t.city').orderBy('t.city').getRawMany());
  say('distinct', await builder().select('m.name', 'name').distinct(true).orderBy('m.name').getRawMany());
  say('subquery', await builder().where((q) => `m.teamCode IN ${q.subQuery().select('t.code').from('Team', 't').where('t.city = :city', { city: 'Geneva' }).getQuery()}`).getCount());
  say('exists', await members.exists({ where: { name: 'Name 9' } }));
  say('update', (await members.update({ name: 'Name 5' }, { name: 'Renamed', active: null })).affected);
  say('renamed', await members.find({ where: { name: 'Renamed' }, order: { id: 'ASC' } }));
  const one = await members.findOneByOrFail({ email: 'm8@example.org' });
  one.points = String(Number(one.points) + 1); one.extra = { ...one.extra, more: true };
  await members.save(one);
  say('saved', await members.findOneBy({ id: one.id }));
  await members.save(await members.findOneByOrFail({ email: 'm8@example.org' }));
  say('builder update', (await builder().update().set({ rate: () => 'rate + 1' }).where('name = :name', { name: 'Name 6' }).returning(['id', 'rate']).execute()).raw);
  await members.upsert([{ name: 'Upserted', email: 'm8@example.org' }, { name: 'Fresh', email: 'fresh@example.org' }], ['email']);
  say('upserted', await members.find({ where: { email: In(['m8@example.org', 'fresh@example.org']) }, order: { name: 'ASC' } }));
  say('increment', (await members.increment({ name: 'Name 1' }, 'points', 5)).affected);
  say('incremented', await members.find({ select: ['points'], where: { name: 'Name 1' }, order: { id: 'ASC' } }));
  for (const [step, row] of [['unique', { name: 'x', email: 'm8@example.org' }], ['check', { name: '' }], ['foreign key', { name: 'x', team: { code: 'T-9' } }]])
    await members.insert(row).then(() => say(`error ${step}`, 'none'), (error) => say(`error ${step}`, [error.code, error.driverError.table]));
  await source.transaction(async (manager) => {
    await manager.getRepository('Member').delete({ name: 'Name 2' });
    throw new Error('back');
  }).catch((error) => say('rolled back', error.message));
  say('locked', await source.transaction((manager) => manager.getRepository('Member').find({ select: ['id'], where: { name: 'Name 2' }, lock: { mode: 'pessimistic_write' }, order: { id: 'ASC' } })));
  say('delete', (await members.delete({ name: In(['Name 2', 'Name 3']) })).affected);
  say('cascade', [(await teams.delete({ code: 'T-1' })).affected, await members.count()]);
  const stream = await builder().select(['m.id', 'm.name']).orderBy('m.name').addOrderBy('m.id').getRawMany();
  say('rest', stream);
}

(async () => {
  let source = options([Tables1700000000001]);
  await source.initialize();
  say('migrated', (await source.runMigrations()).map((m) => m.name));
  await source.destroy();
  if (sealed) await protect();
  source = options([Tables1700000000001, Columns1700000000002]);
  await source.initialize();
  say('migrated', (await source.runMigrations()).map((m) => m.name));
  await application(source);
  const sees = await source.query('SELECT name FROM member WHERE name = $1 LIMIT 1', ['Name 6']);
  say('app sees', sees);
  await source.query('GRANT SELECT ON member, team TO clerk');
  const clerk = options([], 'clerk');
  await clerk.initialize();
  const seen = await clerk.getRepository('Member').createQueryBuilder('m').select(['m.id', 'm.name', 'm.email']).where('m.email = :e', { e: 'm8@example.org' }).getOne();
  say('clerk finds', [seen.id, !sealed || (seen.name.startsWith('\\sealed:') && seen.email.startsWith('\\sealed:'))]);
  say('clerk counts', await clerk.getRepository('Member').countBy({ name: 'Name 6' }));
  await (sealed ? clerk.getRepository('Member').find({ order: { name: 'ASC' } }) : Promise.reject({ code: '42501' })).then(() => say('clerk orders', 'done'), (error) => say('clerk orders', error.code));
  await clerk.destroy();
  await source.undoLastMigration();
  say('undone', (await source.query("SELECT attname FROM pg_attribute WHERE attrelid = 'member'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum")).map((r) => r.attname));
  await source.destroy();
})().catch((error) => {
  console.log(`failed: ${error.stack}`);
  process.exit(1);
});
