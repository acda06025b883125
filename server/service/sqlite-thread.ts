/**
 * The thread of the embedded queue. Calls that arrive while a commit waits for the disk are one transaction afterwards: a commit costs
 * a flush of the disk however many jobs are in it. An answer is sent when its transaction is on disk.
 */
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { QueueRefusal } from './queue.ts';
import type { SqliteCall, SqliteOpened, SqliteReply, SqliteRequest, SqliteThreadOptions } from './sqlite-messages.ts';
import { SqliteStore } from './sqlite-store.ts';

/** Calls of one transaction. */
const MAX_BATCH = 2_000;
/** Calls that write nothing. */
const READS: ReadonlySet<SqliteCall['name']> = new Set(['get', 'list', 'figures', 'renew', 'close']);
/** Result codes of SQLite (sqlite.org/rescode.html): the low byte is the kind. */
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

const port = parentPort!;
const options = workerData as SqliteThreadOptions;

start();

function start(): void {
  let store: SqliteStore;
  try {
    store = new SqliteStore(options);
  } catch (error) {
    const { message } = error as Error;
    port.postMessage({ opened: false, message, locked: kindOf(error) === SQLITE_BUSY } satisfies SqliteOpened);
    port.close();
    return;
  }
  port.on('message', (request: SqliteRequest) => serve(store, [...request, ...waiting(port, request.length)]));
  port.postMessage({ opened: true } satisfies SqliteOpened);
}

/** The calls that have arrived meanwhile. */
function waiting(from: MessagePort, already: number): SqliteRequest {
  const calls: SqliteRequest[number][] = [];
  while (already + calls.length < MAX_BATCH) {
    const next = receiveMessageOnPort(from) as { readonly message: SqliteRequest } | undefined;
    if (next === undefined) break;
    calls.push(...next.message);
  }
  return calls;
}

function serve(store: SqliteStore, calls: SqliteRequest): void {
  const replies: SqliteReply[] = [];
  let isOpen = false;
  try {
    const isFull = calls.some(({ name }) => name === 'add') && lacksSpace();
    for (const call of calls) {
      if (call.name === 'close') {
        // After what was asked before it.
        if (isOpen) store.commit();
        for (const reply of replies) port.postMessage(reply);
        store.close();
        port.postMessage({ call: call.call, value: undefined } satisfies SqliteReply);
        port.close();
        return;
      }
      if (!isOpen && !READS.has(call.name)) {
        store.begin();
        isOpen = true;
      }
      if (isFull && call.name === 'add') replies.push(refused(call.call, spaceError()));
      else replies.push({ call: call.call, value: perform(store, call) });
    }
    if (isOpen) store.commit();
  } catch (error) {
    store.rollback();
    // One call that cannot be made must not fail the others; a disk that is full fails all.
    if (calls.length > 1 && kindOf(error) !== SQLITE_FULL) for (const call of calls) serve(store, [call]);
    // Reads are refused too: they saw what is not on disk.
    else for (const { call } of calls) port.postMessage(refused(call, error));
    return;
  }
  for (const reply of replies) port.postMessage(reply);
}

function perform(store: SqliteStore, call: SqliteCall): unknown {
  switch (call.name) {
    case 'add':
      return store.add(call.jobs);
    case 'take':
      return store.take(call.topic, call.limit);
    case 'renew':
      return store.renew(call.lease, call.progress);
    case 'finish':
      return store.finish(call.lease, call.ending, call.followUp);
    case 'get':
      return store.get(call.id);
    case 'list':
      return store.list(call.filter);
    case 'retry':
      return store.retry(call.id);
    case 'cancel':
      return store.cancel(call.id);
    case 'figures':
      return store.figures();
    case 'probe':
      if (lacksSpace()) throw spaceError();
      return store.probe();
    case 'close':
      return undefined;
  }
}

/** Jobs are refused while there is still space to end those that run. */
function lacksSpace(): boolean {
  const { bavail, bsize } = statfsSync(dirname(options.path));
  return bavail * bsize < options.keepFree;
}

class SpaceError extends Error {}

function spaceError(): SpaceError {
  return new SpaceError(`less than ${options.keepFree} bytes are free beside ${options.path}`);
}

/** The kind of an error of SQLite. */
function kindOf(error: unknown): number | undefined {
  const { errcode } = error as { readonly errcode?: number };
  return errcode === undefined ? undefined : errcode & 0xff;
}

function refused(call: number, error: unknown): SqliteReply {
  const isFull = error instanceof SpaceError || kindOf(error) === SQLITE_FULL;
  const refusal: QueueRefusal = isFull ? 'full' : 'unavailable';
  const message = isFull ? 'the disk of the queue is full' : 'the queue cannot be written';
  return { call, refusal, message, cause: (error as Error).message };
}
