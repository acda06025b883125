/**
 * The queue of the service, for commands. PostgreSQL is opened beside the service. The file of the embedded queue belongs to one process:
 * where the service runs its API is asked, and otherwise the file is opened for as long as it takes to read or write it.
 */
import type { Config } from '../../config/schema.ts';
import type { ConversionRecord } from '../conversion.ts';
import { openPostgresQueue } from '../postgres.ts';
import { checkEvent, eventJob, type PushEvent, repositoryOf } from '../push-event.ts';
import { MAX_PAGE, type Queue } from '../queue.ts';
import { openSqliteQueue } from '../sqlite.ts';
import { isDatabase } from '../store-address.ts';
import { ApiClient } from './api-client.ts';
import { type PendingImages, pendingImages } from './pending-images.ts';

/** Operations of commands on the queue. */
export interface ServiceAccess {
  /** Adds events, and reports each image when it is on disk. */
  add(events: readonly PushEvent[], onAdded: (image: string) => void): Promise<void>;
  /** Images that are about to be converted. */
  pending(): Promise<PendingImages>;
  close(): Promise<void>;
}

/** Events of one transaction. */
const BATCH = 500;

/** Finds the way to the queue. Throws `io-error` where it cannot be opened. */
export async function openAccess(config: Config, signal: AbortSignal): Promise<ServiceAccess> {
  const { store } = config.service;
  if (isDatabase(store)) {
    const queue = await openPostgresQueue({ url: store, connections: 4, log: () => undefined });
    return byQueue(
      async (work) => work(queue),
      () => queue.close(),
    );
  }
  const client = await ApiClient.connect(config, signal);
  if (client !== undefined) return byApi(client, signal);
  return byQueue(
    async (work) => {
      const queue = await openSqliteQueue({ path: store, history: config.service.history });
      try {
        return await work(queue);
      } finally {
        await queue.close();
      }
    },
    async () => undefined,
  );
}

function byQueue(
  withQueue: <T>(work: (queue: Queue) => Promise<T>) => Promise<T>,
  close: () => Promise<void>,
): ServiceAccess {
  return {
    add: (events, onAdded) =>
      withQueue(async (queue) => {
        for (let at = 0; at < events.length; at += BATCH) {
          const batch = events.slice(at, at + BATCH).map(checkEvent);
          await queue.add(batch.map(eventJob));
          for (const event of batch) onAdded(imageOf(event));
        }
      }),
    pending: () => withQueue(pendingImages),
    close,
  };
}

function byApi(client: ApiClient, signal: AbortSignal): ServiceAccess {
  return {
    async add(events, onAdded) {
      for (const event of events) {
        signal.throwIfAborted();
        const image = imageOf(event);
        await client.ask('POST', '/api/v1/conversions', { image });
        onAdded(image);
      }
    },
    async pending() {
      const images = new Set<string>();
      for (const state of ['waiting', 'running']) {
        for (let after = ''; ; ) {
          const path = `/api/v1/conversions?state=${state}&limit=${MAX_PAGE}${after}`;
          const { conversions, next } = await client.ask('GET', path);
          for (const { repository, tag } of conversions as ConversionRecord[]) images.add(`${repository}:${tag}`);
          if (typeof next !== 'string') break;
          after = `&after=${encodeURIComponent(next)}`;
        }
      }
      return (image) => images.has(image);
    },
    close: () => client.close(),
  };
}

function imageOf(event: PushEvent): string {
  return `${repositoryOf(event)}:${event.tag}`;
}
