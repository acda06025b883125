/**
 * Tasks that come again and again: each is one job of the queue, so that of all processes one runs it, and it is not lost with a
 * process. A job wakes every minute at the latest and asks the settings in force whether it is time, so that SIGHUP takes effect.
 */
import { asAccelError } from '../../../base/error.ts';
import { JobPool, type Outcome } from '../job-pool.ts';
import type { Job, NewJob, Queue } from '../queue.ts';

/** The outcome of a run. */
export interface TaskReport {
  /** Tags that were looked at. */
  readonly tags: number;
  /** Events that were added; for prune, manifests that were removed. */
  readonly changes: number;
  /** One line each, with the registry or repository. */
  readonly problems: readonly string[];
}

/** A task. */
export interface ScheduledTask {
  /** Identifies it among all processes; at most 200 characters. */
  readonly key: string;
  /** Kind of the task, for metrics and the log. */
  readonly name: 'reconcile' | 'watch' | 'prune';
  /** Milliseconds between the end of a run and the next one. */
  readonly interval: number;
  /** Runs it. Rejects when `signal` fires, and with what cannot be a problem of one repository. */
  run(signal: AbortSignal): Promise<TaskReport>;
}

/** The end of a run. */
export interface TaskRun {
  readonly name: ScheduledTask['name'];
  /** Milliseconds since the epoch. */
  readonly ended: number;
  readonly seconds: number;
  readonly report: TaskReport;
  /** False where the run ended before it had looked at everything. */
  readonly complete: boolean;
}

/** Settings of the schedule. */
export interface ScheduleOptions {
  readonly queue: Queue;
  /** The tasks of the settings in force; one that is no longer among them ends. */
  readonly tasks: () => readonly ScheduledTask[];
  readonly log: (line: string) => void;
  readonly onRun?: (run: TaskRun) => void;
  /** Other processes have the queue too: a run of theirs that has just ended counts as the one of this start. */
  readonly isShared?: boolean;
}

/** Milliseconds after its end for which a run counts for processes that start: those of one roll-out start within that time. */
const JUST_ENDED = 60_000;
/** Longest time in milliseconds after which a task notices other settings. */
const STEP = 60_000;
/** Tasks that run at a time in one process: a long reconcile does not hold up a watch. Of each task one runs in all processes. */
const AT_ONCE = 4;

/** A running schedule. */
export interface Schedule {
  /** Lets the tasks look at their settings at once; for SIGHUP. Resolves when they are in the queue; never rejects. */
  replan(): Promise<void>;
  /** Starts no more runs, and waits for those that go on until `deadline` puts them back. */
  drain(deadline: AbortSignal): Promise<void>;
}

/** Starts the schedule: every task runs once now, and then at its interval. */
export function startSchedule(options: ScheduleOptions): Schedule {
  const { queue, log, isShared = false } = options;
  const plan = async (change?: 'at-start' | 'now'): Promise<void> => {
    try {
      const tasks = options.tasks();
      if (change !== undefined) await wake(queue, tasks, { change, isShared });
      // One that waits or runs already is one with it: this only adds what is missing.
      await queue.add(tasks.map((task) => jobOf(task, {}, change === undefined ? STEP : 0)));
    } catch (error) {
      log(`the tasks are not in the queue yet: ${asAccelError(error).message}`);
    }
  };
  const startPool = (): JobPool =>
    new JobPool({
      queue,
      topic: 'task',
      concurrency: AT_ONCE,
      log,
      run: ({ job }, _, stop) => runTask(job, options, stop),
    });
  // Not before: a job of the last run that looks at its settings right now would stand in for the one that runs at once.
  const started = plan('at-start').then(startPool);
  // Brings back a task whose job was lost, or could not be added while the store did not answer.
  const timer = setInterval(() => void plan(), STEP).unref();
  return {
    replan: () => plan('now'),
    drain: async (deadline) => {
      clearInterval(timer);
      await (await started).drain(deadline);
    },
  };
}

/** The memory of a task between its runs. */
interface TaskData {
  /** End of the last run, milliseconds since the epoch; absent: it is to run now. */
  readonly last?: number;
}

/** Replaces the jobs that wait: `at-start` by ones that run now, `now` by ones that look at once whether it is time. */
async function wake(
  queue: Queue,
  tasks: readonly ScheduledTask[],
  { change, isShared }: { readonly change: 'at-start' | 'now'; readonly isShared: boolean },
): Promise<void> {
  for (const job of await queue.list({ topic: 'task', state: 'waiting', limit: 500 })) {
    const task = tasks.find(({ key }) => key === job.key);
    const data = job.data as TaskData;
    const hasJustRun = isShared && data.last !== undefined && Math.abs(Date.now() - data.last) < JUST_ENDED;
    await queue.cancel(job.id);
    if (task !== undefined) await queue.add([jobOf(task, change === 'now' || hasJustRun ? data : {}, 0)]);
  }
}

function jobOf({ key }: { readonly key: string }, { last }: TaskData, delay: number): NewJob {
  return { topic: 'task', key, repository: '-', data: last === undefined ? {} : { last }, delay };
}

async function runTask(job: Job, { tasks, log, onRun }: ScheduleOptions, stop: AbortSignal): Promise<Outcome> {
  const task = tasks().find(({ key }) => key === job.key);
  if (task === undefined) return { ending: { kind: 'done' } };
  const { last } = job.data as TaskData;
  const left = last === undefined ? 0 : last + task.interval - Date.now();
  // More than an interval ahead is the work of a clock that was set back.
  if (left > 0 && left <= task.interval) return again(task, last, left);
  const started = performance.now();
  let complete = true;
  const report = await task.run(stop).catch((error: unknown): TaskReport => {
    stop.throwIfAborted();
    complete = false;
    return { tags: 0, changes: 0, problems: [`${task.name} ended early: ${asAccelError(error).message}`] };
  });
  const seconds = (performance.now() - started) / 1000;
  for (const problem of report.problems) log(`${task.name}: ${problem}`);
  log(
    `${task.name}: ${report.tags} tags, ${report.changes} changes, ${report.problems.length} problems in ${seconds.toFixed(1)} s`,
  );
  onRun?.({ name: task.name, ended: Date.now(), seconds, report, complete });
  return again(task, Date.now(), task.interval);
}

function again(task: ScheduledTask, last: number | undefined, left: number): Outcome {
  const next = jobOf(task, last === undefined ? {} : { last }, Math.min(STEP, left));
  return { ending: { kind: 'done' }, followUp: [next] };
}
