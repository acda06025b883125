/** The HTTP server of the conversion service for tests: on loopback, over a real queue in a folder that is gone afterwards. */
import { writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { CONFIG_SCHEMA } from '../../server/config/schema.ts';
import { createApp } from '../../server/service/app.ts';
import type { AppContext, AuditEntry } from '../../server/service/app-context.ts';
import { createEventSink } from '../../server/service/intake.ts';
import { ProgressBus } from '../../server/service/progress-bus.ts';
import type { NewJob, Queue } from '../../server/service/queue.ts';
import { requestConversion } from '../../server/service/request-conversion.ts';
import { type ServiceSettings, serviceSettings } from '../../server/service/service-settings.ts';
import { openSqliteQueue } from '../../server/service/sqlite.ts';
import { createMetrics } from '../../server/telemetry/metrics.ts';
import { tempDirectory } from './tools.ts';

/** A server that listens. */
export interface ServiceApp {
  readonly url: string;
  readonly port: number;
  readonly queue: Queue;
  readonly bus: ProgressBus;
  readonly audits: AuditEntry[];
  readonly settings: ServiceSettings;
  /** Connections that are open. */
  connections(): number;
  /** Fires what the service's end fires. */
  drain(): void;
  stop(): Promise<void>;
}

/** Settings of the server. */
export interface ServiceAppOptions {
  /** Secrets by file name; in the configuration, `$FOLDER` is the folder of the files. */
  readonly files?: Readonly<Record<string, string>>;
  /** The configuration; a store and one rule over `registry.example.com/team/*` unless given. */
  readonly config?: object;
  /** Takes the place of parts. */
  readonly parts?: Partial<AppContext>;
}

/** Starts it. */
export async function startServiceApp({ files = {}, config = {}, parts }: ServiceAppOptions = {}): Promise<ServiceApp> {
  const folder = await tempDirectory();
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
  const given = JSON.parse(JSON.stringify(config).replaceAll('$FOLDER', folder.path)) as object;
  const settings = await serviceSettings(
    CONFIG_SCHEMA.parse({ rules: [{ repositories: ['registry.example.com/team/*'] }], ...given }),
  );
  const queue = parts?.queue ?? (await openSqliteQueue({ path: join(folder.path, 'queue.db'), history: 1000 }));
  const bus = new ProgressBus();
  const drain = new AbortController();
  const audits: AuditEntry[] = [];
  const app = await createApp({
    queue,
    bus,
    sink: createEventSink({ queue, context: () => settings }),
    hooks: () => settings.hooks,
    tokens: () => settings.tokens,
    metrics: createMetrics('service'),
    unready: () => [queue.unready()].filter((reason) => reason !== undefined),
    convert: (request, signal) => requestConversion(request, { queue, settings }, signal),
    onIgnored: () => undefined,
    audit: (entry) => audits.push(entry),
    draining: drain.signal,
    agents: async () => ({ agents: [], images: [] }),
    ...parts,
  });
  let open = 0;
  app.server.on('connection', (socket) => {
    open += 1;
    socket.once('close', () => (open -= 1));
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    queue,
    bus,
    audits,
    settings,
    connections: () => open,
    drain: () => drain.abort(),
    async stop() {
      drain.abort();
      await app.close();
      await queue.close();
      await folder.remove();
    },
  };
}

/** A conversion to put into a queue. */
export function conversionJob(tag: string, more: Partial<NewJob> = {}): NewJob {
  const repository = 'registry.example.com/team/app';
  return {
    topic: 'convert',
    key: `${repository}:${tag}`,
    repository,
    data: {
      repository,
      tag,
      digest: `sha256:${'1a'.repeat(32)}`,
      rule: { number: 1, identity: 'one', options: { mode: 'full' } },
      from: 'api',
    },
    ...more,
  };
}
