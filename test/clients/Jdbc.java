// The JDBC driver: typed setters, batches, a cursor by fetch size, arrays, and
// statements prepared at the server from their first run on (with binary transfer).
// Prints a line "step: result" for each step; the suite compares both databases' lines.
import java.math.BigDecimal;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;

public class Jdbc {
	static void say(String step, Object value) {
		System.out.println(step + ": " + value);
	}

	interface Fill {
		void in(PreparedStatement statement) throws SQLException;
	}

	static String show(Object value) throws SQLException {
		if (value instanceof byte[])
			return "bytes " + Arrays.toString((byte[]) value);
		if (value instanceof java.sql.Array)
			return "array " + Arrays.toString((Object[]) ((java.sql.Array) value).getArray());
		return value == null ? "null" : value.getClass().getSimpleName() + " " + value;
	}

	static String rows(ResultSet set) throws SQLException {
		StringBuilder out = new StringBuilder();
		int columns = set.getMetaData().getColumnCount();
		while (set.next()) {
			for (int i = 1; i <= columns; i++)
				out.append(i > 1 ? ", " : " (").append(show(set.getObject(i)));
			out.append(")");
		}
		return out.toString();
	}

	static void query(Connection connection, String step, String sql, Fill fill) throws SQLException {
		try (PreparedStatement statement = connection.prepareStatement(sql)) {
			fill.in(statement);
			try (ResultSet set = statement.executeQuery()) {
				say(step, rows(set));
			}
		}
	}

	static void application(Connection connection) throws SQLException {
		connection.setAutoCommit(false);
		try (PreparedStatement office = connection.prepareStatement("INSERT INTO office VALUES (?, ?, ?)")) {
			for (int i = 1; i <= 3; i++) {
				office.setInt(1, i);
				office.setString(2, "O-" + i);
				office.setString(3, "City " + i);
				office.addBatch();
			}
			say("batch", Arrays.toString(office.executeBatch()));
		}
		try (PreparedStatement person = connection.prepareStatement(
				 "INSERT INTO person (name, email, age, income, born, seen, active, token, extra, photo, office) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?, ?)",
				 Statement.RETURN_GENERATED_KEYS)) {
			for (int i = 1; i <= 40; i++) {
				person.setString(1, "Name " + i % 10);
				person.setString(2, i % 4 == 0 ? null : "p" + i + "@example.org");
				person.setLong(3, 20 + i % 7);
				person.setBigDecimal(4, new BigDecimal(i + ".50"));
				person.setObject(5, LocalDate.of(1950 + i, 2, 3));
				person.setObject(6, OffsetDateTime.of(2020, 1, 1, 0, i, 0, 0, ZoneOffset.UTC));
				person.setBoolean(7, i % 3 == 0);
				person.setObject(8, new UUID(0, i));
				person.setString(9, "{\"n\": " + i + "}");
				person.setBytes(10, new byte[] {(byte) i, 0, -1});
				person.setString(11, "O-" + (1 + i % 3));
				person.addBatch();
			}
			say("batch insert", Arrays.toString(person.executeBatch()));
			try (ResultSet keys = person.getGeneratedKeys()) {
				int n = 0;
				while (keys.next())
					n++;
				say("generated keys", n);
			}
		}
		connection.commit();

		query(connection, "all", "SELECT * FROM person WHERE id <= 4 ORDER BY id", s -> { });
		try (PreparedStatement s = connection.prepareStatement("SELECT * FROM person WHERE name = ? AND born = ?")) {
			ResultSetMetaData meta = s.getMetaData();
			StringBuilder types = new StringBuilder();
			for (int i = 1; i <= meta.getColumnCount(); i++)
				types.append(meta.getColumnName(i)).append(' ').append(meta.getColumnTypeName(i)).append(' ').append(meta.getColumnClassName(i)).append("; ");
			say("metadata", types);
			ParameterMetaData parameters = s.getParameterMetaData();
			say("parameters", parameters.getParameterTypeName(1) + " " + parameters.getParameterTypeName(2));
		}
		// Seven times each: described, then prepared, then by a generic plan.
		for (int i = 1; i <= 7; i++) {
			final int n = i;
			query(connection, "string " + n, "SELECT id FROM person WHERE name = ? ORDER BY id", s -> s.setString(1, "Name " + n));
			query(connection, "long " + n, "SELECT id, age FROM person WHERE age = ? ORDER BY id", s -> s.setLong(1, 20 + n));
			query(connection, "int " + n, "SELECT id FROM person WHERE age = ? AND age < ? ORDER BY id", s -> { s.setInt(1, 20 + n); s.setInt(2, 26); });
			query(connection, "short " + n, "SELECT count(*) FROM person WHERE age <> ?", s -> s.setShort(1, (short) (20 + n)));
			query(connection, "decimal " + n, "SELECT id, income FROM person WHERE income = ?", s -> s.setBigDecimal(1, new BigDecimal(n + ".5")));
			query(connection, "local date " + n, "SELECT id, born FROM person WHERE born = ?", s -> s.setObject(1, LocalDate.of(1950 + n, 2, 3)));
			query(connection, "sql date " + n, "SELECT id, born FROM person WHERE born = ?", s -> s.setDate(1, java.sql.Date.valueOf(LocalDate.of(1950 + n, 2, 3))));
			query(connection, "offset date time " + n, "SELECT id, seen FROM person WHERE seen = ?", s -> s.setObject(1, OffsetDateTime.of(2020, 1, 1, 0, n, 0, 0, ZoneOffset.UTC)));
			query(connection, "timestamp " + n, "SELECT id FROM person WHERE seen > ? AND seen <= ? ORDER BY seen", s -> { s.setTimestamp(1, Timestamp.valueOf("2020-01-01 00:03:00")); s.setTimestamp(2, Timestamp.valueOf("2020-01-01 00:0" + n + ":00")); });
			query(connection, "boolean " + n, "SELECT count(*), bool_and(active) FROM person WHERE active = ?", s -> s.setBoolean(1, n % 2 == 0));
			query(connection, "uuid " + n, "SELECT id, token FROM person WHERE token = ?", s -> s.setObject(1, new UUID(0, n)));
			query(connection, "bytes " + n, "SELECT id, photo FROM person WHERE photo = ?", s -> s.setBytes(1, new byte[] {(byte) n, 0, -1}));
			query(connection, "json " + n, "SELECT id, extra FROM person WHERE extra = ?::jsonb", s -> s.setString(1, "{\"n\":" + n + ".0}"));
			query(connection, "other " + n, "SELECT id FROM person WHERE extra = ?", s -> s.setObject(1, "{\"n\": " + n + "}", Types.OTHER));
			query(connection, "text array " + n, "SELECT id, name FROM person WHERE name = ANY (?) ORDER BY id", s -> s.setArray(1, connection.createArrayOf("text", new String[] {"Name " + n, "Name 1", null})));
			query(connection, "varchar array " + n, "SELECT count(*) FROM person WHERE name = ANY (?)", s -> s.setArray(1, connection.createArrayOf("varchar", new String[] {"Name " + n})));
			query(connection, "long array " + n, "SELECT count(*) FROM person WHERE age = ANY (?)", s -> s.setArray(1, connection.createArrayOf("int8", new Long[] {20L + n, 20L})));
			query(connection, "like " + n, "SELECT id FROM person WHERE email LIKE ? ORDER BY email LIMIT 3", s -> s.setString(1, "p" + n + "%"));
			query(connection, "join " + n, "SELECT p.id, p.name, o.city FROM person p JOIN office o ON o.code = p.office WHERE p.name = ? ORDER BY p.id", s -> s.setString(1, "Name " + n));
			query(connection, "null " + n, "SELECT count(*) FROM person WHERE name = ? OR age IS NOT DISTINCT FROM ?", s -> { s.setNull(1, Types.VARCHAR); s.setNull(2, Types.BIGINT); });
			query(connection, "upsert " + n, "INSERT INTO person (name, email, age) VALUES (?, ?, ?) ON CONFLICT (email) DO UPDATE SET age = person.age + excluded.age RETURNING email, age", s -> { s.setString(1, "Up"); s.setString(2, "up@example.org"); s.setLong(3, n); });
		}
		try (PreparedStatement s = connection.prepareStatement("SELECT name, age, born, seen, active, income, photo FROM person WHERE id = ?")) {
			for (int i = 1; i <= 7; i++) {
				s.setLong(1, i);
				try (ResultSet set = s.executeQuery()) {
					set.next();
					say("getters " + i, set.getString(1) + ", " + set.getLong(2) + ", " + set.getInt("age") + ", " + set.getDate(3) + ", " + set.getObject("born", LocalDate.class) + ", "
						+ set.getTimestamp(4).toInstant() + ", " + set.getObject(4, OffsetDateTime.class) + ", " + set.getBoolean(5) + ", " + set.getBigDecimal(6) + ", "
						+ set.getDouble(6) + ", " + set.getString("born") + ", " + Arrays.toString(set.getBytes(7)));
				}
			}
		}
		try (PreparedStatement s = connection.prepareStatement("SELECT id, name, age FROM person WHERE born IS NOT NULL ORDER BY name DESC, id")) {
			s.setFetchSize(5);
			try (ResultSet set = s.executeQuery()) {
				say("fetch size", rows(set));
			}
		}
		query(connection, "aggregates", "SELECT office, count(*), sum(age), avg(income)::numeric(9,2), max(born), array_agg(name ORDER BY id) FROM person GROUP BY office ORDER BY office", s -> { });
		try (PreparedStatement s = connection.prepareStatement("SELECT id, name, age, active FROM person WHERE id < 4 ORDER BY id", ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
			 ResultSet set = s.executeQuery()) {
			set.next();
			set.updateString("name", "By result set");
			set.updateLong("age", 99);
			set.updateBoolean("active", true);
			set.updateRow();
			say("updated by result set", set.getString(2) + " " + set.getLong(3));
		}
		query(connection, "after update", "SELECT id, age, active FROM person WHERE name = 'By result set'", s -> { });
		Savepoint savepoint = connection.setSavepoint();
		for (String sql : new String[] {"INSERT INTO person (name, email) VALUES ('x', 'p1@example.org')", "INSERT INTO person (name) VALUES ('')",
				 "INSERT INTO person (name, office) VALUES ('x', 'O-9')", "SELECT id FROM person WHERE age = 'four'", "DELETE FROM office WHERE code = 'O-1' RETURNING 1 / (id - 1)"})
			try (Statement s = connection.createStatement()) {
				s.execute(sql);
				say("error", "none: " + sql);
			} catch (SQLException e) {
				say("error", e.getSQLState());
				connection.rollback(savepoint);
			}
		try (Statement s = connection.createStatement()) {
			say("delete", s.executeUpdate("DELETE FROM office WHERE code = 'O-1'"));
		}
		query(connection, "cascaded", "SELECT count(*) FROM person", s -> { });
		connection.commit();
	}

	static void clerk(Connection connection, boolean sealed) throws SQLException {
		for (int i = 1; i <= 7; i++) {
			try (PreparedStatement s = connection.prepareStatement("SELECT id, name, age, born, active FROM person WHERE email = ?")) {
				s.setString(1, "p7@example.org");
				try (ResultSet set = s.executeQuery()) {
					set.next();
					boolean hidden = true;
					for (int column = 2; column <= 5; column++)
						hidden &= set.getString(column).startsWith("\\sealed:");
					say("clerk " + i, set.getLong(1) + " " + (hidden == sealed));
				}
			}
		}
	}

	// Whoever had the right when a statement was prepared, and has it no more, gets an
	// error: never ciphertext where the driver was told to expect a boolean.
	static void lost(Connection connection, Connection officer, boolean sealed) throws SQLException {
		connection.setAutoCommit(true);
		try (PreparedStatement s = connection.prepareStatement("SELECT active, age FROM person WHERE id = 5")) {
			for (int i = 0; i < 3; i++)
				try (ResultSet set = s.executeQuery()) {
					set.next();
					say("while there is the right", set.getBoolean(1) + " " + set.getLong(2));
				}
			if (sealed)
				try (Statement revoke = officer.createStatement()) {
					revoke.execute("SELECT ward.revoke_unseal('app.identity', 'app', 'test')");
				}
			try (ResultSet set = s.executeQuery()) {
				set.next();
				say("afterwards", sealed ? "a value: " + set.getBoolean(1) : "42501");
			} catch (SQLException e) {
				say("afterwards", e.getSQLState());
			}
		}
	}

	public static void main(String[] args) throws Exception {
		boolean sealed = args[0].equals("sealed");
		String url = "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + args[0] + "?prepareThreshold=1&user=";
		TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
		try (Connection connection = DriverManager.getConnection(url + "app"); Connection other = DriverManager.getConnection(url + "clerk");
			 Connection officer = DriverManager.getConnection(url + "postgres")) {
			application(connection);
			clerk(other, sealed);
			lost(connection, officer, sealed);
		}
	}
}
