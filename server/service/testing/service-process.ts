/** The conversion service as a process of its own, asked through its API: for tests that kill it, starve it and reload it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../../tests/support/loopback.ts';
import type { ConversionRecord } from '../conversion.ts';

/** Milliseconds between two looks of {@link until}. */
const LOOK_EVERY = 50;
/** Milliseconds that {@link until} waits: a busy machine takes its time. */
const PATIENCE = 180_000;

/** Waits until `look` finds something. Throws with the words of `what` where that takes too long. */
export async function until<T>(look: () => Promise<T | undefined> | T | undefined, what: () => string): Promise<T> {
  for (let waited = 0; waited < PATIENCE; waited += LOOK_EVERY) {
    const found = await look();
    if (found !== undefined) return found;
    await delay(LOOK_EVERY);
  }
  throw new Error(`did not happen: ${what()}`);
}

/** A configuration that was written. */
export interface ServiceFiles {
  /** Path of the file. */
  readonly path: string;
  /** `http://127.0.0.1:PORT`, on which the API listens. */
  readonly url: string;
}

/** Settings of {@link writeServiceConfig}: parts of the configuration. */
export interface ServiceConfig {
  readonly registries: readonly object[];
  readonly rules: readonly object[];
  readonly service: object;
  /** A duration, such as `10s`. */
  readonly drain?: string;
  /** Port of the API; a free one unless given. */
  readonly port?: number;
}

/** Writes a configuration whose API has a free port, without reconciling unless it says so. */
export async function writeServiceConfig(folder: string, config: ServiceConfig): Promise<ServiceFiles> {
  const { registries, rules, service, drain = '10s', port = await freePort() } = config;
  const listen = `127.0.0.1:${port}`;
  const path = join(folder, `config-${Math.random()}.yaml`);
  // JSON is YAML.
  const text = {
    registries,
    rules,
    service: { listen, reconcile: { interval: 0 }, ...service },
    telemetry: { listen: '127.0.0.1:0' },
    drain,
  };
  await writeFile(path, JSON.stringify(text, undefined, 2));
  return { path, url: `http://${listen}` };
}

/** An answer of the API. */
export interface ApiAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service says
  readonly body: any;
}

/** A running service. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly files: ServiceFiles;
  /** Everything that it has logged. */
  log = '';
  readonly #ready: Promise<void>;

  private constructor(files: ServiceFiles, role: string, clock: number) {
    this.files = files;
    const program = fileURLToPath(new URL('./run-service.ts', import.meta.url));
    // In every thread and process of it.
    const shift = `const real = Date.now; Date.now = () => real() + ${clock}`;
    const env = clock === 0 ? {} : { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(shift)}` };
    this.child = spawn(process.execPath, [program, role, files.path], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
    // A test run that ends early must not leave it behind.
    const kill = (): void => void this.child.kill('SIGKILL');
    process.once('exit', kill);
    this.child.once('exit', () => process.removeListener('exit', kill));
    this.#ready = new Promise((resolve, reject) => {
      this.child.stdout!.once('data', () => resolve());
      this.child.once('close', (code, signal) => reject(new Error(`ended: ${code ?? signal}\n${this.log}`)));
    });
    this.#ready.catch(() => undefined);
  }

  /**
   * Starts a role (`service`, `api` or `worker`), with a clock that is `clock` milliseconds ahead; resolves when it serves. Throws with the
   * log where it ends before.
   */
  static async start(files: ServiceFiles, role = 'service', clock = 0): Promise<ServiceProcess> {
    const started = new ServiceProcess(files, role, clock);
    await started.#ready;
    return started;
  }

  /** Times that the log has a text. */
  count(text: string): number {
    return this.log.split(text).length - 1;
  }

  /** Asks the API. */
  async ask(path: string, init: RequestInit = {}): Promise<ApiAnswer> {
    const answer = await fetch(this.files.url + path, init);
    const said = await answer.text();
    const isJson = answer.headers.get('content-type')?.includes('json') === true;
    return { status: answer.status, body: isJson ? JSON.parse(said) : said };
  }

  /** Posts a document. */
  post(path: string, document: object, headers: Readonly<Record<string, string>> = {}): Promise<ApiAnswer> {
    return this.ask(path, {
      method: 'POST',
      body: JSON.stringify(document),
      headers: { 'content-type': 'application/json', ...headers },
    });
  }

  /** Conversions, newest first. */
  async conversions(state?: string): Promise<ConversionRecord[]> {
    const { status, body } = await this.ask(
      `/api/v1/conversions?limit=500${state === undefined ? '' : `&state=${state}`}`,
    );
    if (status !== 200) throw new Error(`HTTP ${status}: ${JSON.stringify(body)}`);
    return body.conversions;
  }

  /** Waits until `look` finds something; what it throws otherwise has the log. */
  until<T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> {
    return until(look, () => this.log);
  }

  /** Ends it with a signal, unless it has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }
}

/** An envelope of distribution's notifications about the push of a tag. */
export function pushEnvelope(host: string, repository: string, tag: string): object {
  const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', repository, tag };
  return { events: [{ id: `${Math.random()}`, action: 'push', target, request: { host } }] };
}
