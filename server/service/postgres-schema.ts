/** The tables of the queue on PostgreSQL, beside those of pg-boss. */

/** Schema of pg-boss. */
export const BOSS_SCHEMA = 'accel_boss';

/**
 * One row a job, as in the embedded queue; `boss` is the job of pg-boss by which it is scheduled now. `beats` counts the renewals of a
 * lease. Text in place of jsonb where nothing is looked up inside.
 */
export const POSTGRES_SCHEMA = `
CREATE SCHEMA IF NOT EXISTS accel;
CREATE TABLE IF NOT EXISTS accel.job (
  seq bigint GENERATED ALWAYS AS IDENTITY,
  id uuid PRIMARY KEY,
  topic text NOT NULL,
  key text NOT NULL,
  lane text NOT NULL,
  repository text NOT NULL,
  state text NOT NULL,
  data text NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  lost integer NOT NULL DEFAULT 0,
  due timestamptz NOT NULL DEFAULT clock_timestamp(),
  created timestamptz NOT NULL DEFAULT clock_timestamp(),
  started timestamptz,
  finished timestamptz,
  failure text,
  result text,
  progress text,
  boss uuid,
  token uuid,
  beats integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS job_waiting ON accel.job (topic, key) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS job_running ON accel.job (topic, key) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS job_failed ON accel.job (topic, key) WHERE state = 'failed';
CREATE INDEX IF NOT EXISTS job_due ON accel.job (topic, due) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS job_boss ON accel.job (boss) WHERE boss IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_topic ON accel.job (topic, seq);
CREATE INDEX IF NOT EXISTS job_state ON accel.job (topic, state, seq);
CREATE INDEX IF NOT EXISTS job_repository ON accel.job (topic, repository, seq);
`;

/** Columns of a job as text and numbers. */
export const JOB_COLUMNS = `id, topic, key, repository, state, data, attempts, failure, result, progress,
  (extract(epoch FROM created) * 1000)::float8 AS created, (extract(epoch FROM started) * 1000)::float8 AS started,
  (extract(epoch FROM finished) * 1000)::float8 AS finished, (extract(epoch FROM due) * 1000)::float8 AS due`;
