/** Rows of the embedded queue as jobs. */
import type { SqlValue } from 'node:sqlite';
import type { Failure, Job, JobState, Json, Topic } from './queue.ts';

/** A figure for each topic. */
export function byTopic(figure: (topic: Topic) => number): Record<Topic, number> {
  return { event: figure('event'), convert: figure('convert'), notify: figure('notify'), task: figure('task') };
}

/** A row of the table `job` as a job. */
export function jobOfRow(row: Record<string, SqlValue>): Job {
  const number = (name: string): number | undefined => (row[name] === null ? undefined : Number(row[name]));
  const json = (name: string): Json | undefined => (row[name] === null ? undefined : JSON.parse(String(row[name])));
  const [started, finished, failure, result] = [number('started'), number('finished'), json('failure'), json('result')];
  const state = row.state as JobState;
  return {
    id: String(row.id),
    topic: row.topic as Topic,
    key: String(row.key),
    repository: String(row.repository),
    data: json('data')!,
    state,
    attempts: Number(row.attempts),
    created: Number(row.created),
    ...(started === undefined ? {} : { started }),
    ...(finished === undefined ? {} : { finished }),
    ...(state === 'waiting' ? { due: Number(row.due) } : {}),
    ...(failure === undefined ? {} : { failure: failure as unknown as Failure }),
    ...(result === undefined ? {} : { result }),
  };
}
