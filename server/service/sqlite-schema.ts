/** The tables of the embedded queue. Statements are run at each open; a later version adds to them under a higher `user_version`. */

/** Version that `PRAGMA user_version` has. */
export const SCHEMA_VERSION = 1;

/**
 * One row a job. Every question that the queue asks has its index, so that a million rows change nothing: due jobs in their order,
 * running lanes, keys, pages of a list. Triggers keep the counts, which would have to be counted otherwise.
 */
export const SCHEMA = `
CREATE TABLE IF NOT EXISTS job (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  topic TEXT NOT NULL,
  key TEXT NOT NULL,
  lane TEXT NOT NULL,
  repository TEXT NOT NULL,
  state TEXT NOT NULL,
  data TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  lost INTEGER NOT NULL DEFAULT 0,
  due INTEGER NOT NULL,
  created INTEGER NOT NULL,
  started INTEGER,
  finished INTEGER,
  failure TEXT,
  result TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS job_due ON job (topic, due, seq) WHERE state = 'waiting';
CREATE UNIQUE INDEX IF NOT EXISTS job_waiting ON job (topic, key) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS job_running ON job (topic, lane) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS job_failed ON job (topic, key) WHERE state = 'failed';
CREATE INDEX IF NOT EXISTS job_topic ON job (topic, seq);
CREATE INDEX IF NOT EXISTS job_state ON job (topic, state, seq);
CREATE INDEX IF NOT EXISTS job_repository ON job (topic, repository, seq);
CREATE TABLE IF NOT EXISTS figure (
  topic TEXT NOT NULL, state TEXT NOT NULL, jobs INTEGER NOT NULL, PRIMARY KEY (topic, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS job_added AFTER INSERT ON job BEGIN
  INSERT INTO figure VALUES (NEW.topic, NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER IF NOT EXISTS job_removed AFTER DELETE ON job BEGIN
  UPDATE figure SET jobs = jobs - 1 WHERE topic = OLD.topic AND state = OLD.state;
END;
CREATE TRIGGER IF NOT EXISTS job_moved AFTER UPDATE OF state ON job WHEN OLD.state <> NEW.state BEGIN
  UPDATE figure SET jobs = jobs - 1 WHERE topic = OLD.topic AND state = OLD.state;
  INSERT INTO figure VALUES (NEW.topic, NEW.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, written INTEGER NOT NULL) STRICT;
PRAGMA user_version = ${SCHEMA_VERSION};
`;
