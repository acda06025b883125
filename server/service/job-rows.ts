/** Rows of both stores as jobs: they have the same columns. */
import type { Failure, Job, JobState, Json, Topic } from './queue.ts';

/** A figure for each topic. */
export function byTopic(figure: (topic: Topic) => number): Record<Topic, number> {
  return { event: figure('event'), convert: figure('convert'), notify: figure('notify'), task: figure('task') };
}

/** A row of the table `job` as a job: times are numbers of milliseconds, documents are text; PostgreSQL has the progress too. */
export function jobOfRow(row: Readonly<Record<string, unknown>>): Job {
  const optional = <K extends keyof Job>(name: K, value: Job[K] | undefined) =>
    value === undefined ? {} : { [name]: value };
  const number = (name: string): number | undefined => (row[name] === null ? undefined : Math.round(Number(row[name])));
  const json = (name: string): Json | undefined =>
    row[name] === null || row[name] === undefined ? undefined : JSON.parse(String(row[name]));
  const state = row.state as JobState;
  return {
    id: String(row.id),
    topic: row.topic as Topic,
    key: String(row.key),
    repository: String(row.repository),
    data: json('data')!,
    state,
    attempts: Number(row.attempts),
    created: number('created')!,
    ...optional('started', number('started')),
    ...optional('finished', number('finished')),
    ...optional('due', state === 'waiting' ? number('due') : undefined),
    ...optional('failure', json('failure') as unknown as Failure | undefined),
    ...optional('result', json('result')),
    ...optional('progress', state === 'running' ? json('progress') : undefined),
  };
}
