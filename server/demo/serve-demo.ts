/**
 * `npm run demo:serve`: a small registry, the conversion service and a receiver of notifications, all on loopback. Pushes an image, shows
 * it converted and the notification, and goes on serving until Ctrl-C; `--once` ends then. Nothing is installed, and nothing is left
 * behind.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type DemoRegistry, startDemoRegistry } from './demo-registry.ts';
import { writeImageLayout } from './image-layout.ts';
import { pushLayout } from './push-image.ts';

const MIB = 2 ** 20;
/** The registry's link in bytes a second: slow enough that the console shows bars that move. */
const LINK = 8 * MIB;
/** Milliseconds in which the first image has to be converted. */
const PATIENCE = 120_000;
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const once = process.argv.includes('--once');
const folder = await mkdtemp(join(tmpdir(), 'accel-demo-serve-'));
const signals = new EventEmitter();
const closing: (() => Promise<unknown>)[] = [];
let interrupted: () => void = () => undefined;
const interrupt = new Promise<void>((resolve) => {
  interrupted = resolve;
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupted);
try {
  process.exitCode = await main();
} catch (error) {
  console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  for (const close of closing.reverse()) await close();
  await rm(folder, { recursive: true, force: true });
}

async function main(): Promise<number> {
  await writeImageLayout(join(folder, 'registry'), [Buffer.alloc(1)]);
  const registry = await startDemoRegistry({ layout: join(folder, 'registry'), bytesPerSecond: LINK, writable: true });
  closing.push(() => registry.close());
  const receiver = await startReceiver();
  closing.push(receiver.close);
  const service = await startService(registry, receiver);
  console.log(
    `Registry  http://${registry.host}, empty; it sends ${LINK / MIB} MiB a second, and notifies the service of pushes`,
  );
  console.log(`Service   ${service.url}hooks/distribution, with its queue in ${join(folder, 'queue.db')}`);
  console.log(`Console   ${service.url}\n`);

  const image = `${registry.host}/team/app:1.0`;
  console.log(`1. Pushing fixtures/images/demo as ${image}`);
  await pushLayout(image, join(ROOT, 'fixtures/images/demo'));
  const first = await Promise.race([receiver.first, service.ended, interrupt, expiry()]);
  if (first === 'late') throw new Error(`no notification within ${PATIENCE / 1000} s:\n${service.log()}`);
  if (first === undefined) return 130;
  console.log(`2. Converted: ${tagsOf(first.document).join('\n              ')}`);
  console.log(`3. The receiver got the notification; its signature is ${first.signed ? 'right' : 'WRONG'}:\n`);
  console.log(`${indented(first.document)}\n`);
  if (once) return first.signed ? 0 : 1;
  explain(registry.host, service.url);
  await Promise.race([interrupt, service.ended]);
  console.log('\nStopping; everything of the demo is removed.');
  return 0;
}

interface Notification {
  readonly document: { readonly tags?: readonly { readonly reference: string }[] };
  readonly signed: boolean;
}

interface Receiver {
  readonly url: string;
  readonly secret: string;
  /** The first notification. */
  readonly first: Promise<Notification>;
  readonly close: () => Promise<unknown>;
}

/** Takes notifications, checks their signature, and prints all but the first in one line. */
async function startReceiver(): Promise<Receiver> {
  const secret = randomBytes(16).toString('hex');
  let heard = 0;
  let hear: (notification: Notification) => void = () => undefined;
  const first = new Promise<Notification>((resolve) => {
    hear = resolve;
  });
  const server = http.createServer(async (request, response) => {
    const body = await textOf(request);
    response.writeHead(204).end();
    const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
    const document = JSON.parse(body) as Notification['document'];
    hear({ document, signed: request.headers['x-accel-signature-256'] === signature });
    heard += 1;
    if (heard > 1) console.log(`notified: ${tagsOf(document).join(', ')}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<unknown> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}/`, secret, first, close };
}

interface Service {
  /** `http://127.0.0.1:PORT/`. */
  readonly url: string;
  /** The end of the service, before the demo ends it. */
  readonly ended: Promise<undefined>;
  readonly log: () => string;
}

/** The function of the built package that the command line calls too (server/main.ts). */
interface ServerBundle {
  run(
    request: { readonly role: string; readonly config: string; readonly check: boolean },
    surroundings: { readonly stderr: { write(text: string): unknown }; readonly signals: EventEmitter },
  ): Promise<void>;
}

/** Starts what `accel serve` starts, in this process, and lets the registry notify it. */
async function startService(registry: DemoRegistry, receiver: Receiver): Promise<Service> {
  const authorization = `Bearer ${randomBytes(16).toString('hex')}`;
  await writeFile(join(folder, 'registry-authorization'), authorization, { mode: 0o600 });
  await writeFile(join(folder, 'receiver-secret'), receiver.secret, { mode: 0o600 });
  const config = join(folder, 'accel.yaml');
  await writeFile(config, configuration(registry.host, receiver.url));
  const bundle = new URL('../../../server/dist/main.js', import.meta.url);
  const { run } = (await import(bundle.href)) as ServerBundle;
  let text = '';
  let found: (url: string) => void = () => undefined;
  const address = new Promise<string>((resolve) => {
    found = resolve;
  });
  const stderr = {
    write(line: string): void {
      text = (text + line).slice(-20_000);
      const [, url] = /API and console at (\S+)/.exec(line) ?? [];
      if (url !== undefined) found(url);
    },
  };
  const running = run({ role: 'service', config, check: false }, { stderr, signals });
  running.catch(() => undefined);
  closing.push(async () => {
    signals.emit('SIGTERM', 'SIGTERM');
    await running;
  });
  const ended = running.then(() => undefined);
  ended.catch(() => undefined);
  const url = await Promise.race([address, ended]);
  if (url === undefined) throw new Error(`the service did not start:\n${text}`);
  registry.notify({ url: `${url}hooks/distribution`, authorization });
  return { url, ended, log: () => text };
}

function configuration(registry: string, receiver: string): string {
  return `registries:
  - host: ${registry}
    plain: true
rules:
  - repositories: ["${registry}/**"]
    verify: quick
service:
  listen: 127.0.0.1:0
  store: ${join(folder, 'queue.db')}
  hooks:
    distribution: { authorizationFile: ${join(folder, 'registry-authorization')} }
  notifications:
    - { url: "${receiver}", secretFile: ${join(folder, 'receiver-secret')} }
telemetry:
  listen: 127.0.0.1:0
drain: 10s
`;
}

function explain(host: string, url: string): void {
  console.log(`Look at ${url} and push more. Without any tool, a new image of 16 MB each time:`);
  console.log(`   node dist/server/demo/push-image.js ${host}/team/big:1`);
  console.log('With a tool (each speaks HTTP to 127.0.0.1 then):');
  console.log(
    `   skopeo copy --dest-tls-verify=false docker://docker.io/library/alpine docker://${host}/library/alpine:1`,
  );
  console.log(`   crane copy docker.io/library/alpine ${host}/library/alpine:1`);
  console.log(`   docker tag alpine ${host}/library/alpine:1 && docker push ${host}/library/alpine:1`);
  console.log('List what the registry has then:');
  console.log(`   curl http://${host}/v2/team/app/tags/list\n`);
  console.log('Ctrl-C ends the demo and removes what it made. Next: docs/service.md.\n');
}

function expiry(): Promise<'late'> {
  return new Promise((resolve) => {
    setTimeout(() => resolve('late'), PATIENCE).unref();
  });
}

function tagsOf({ tags = [] }: Notification['document']): string[] {
  return tags.map(({ reference }) => reference.replace(/@.*/, ''));
}

function indented(document: object): string {
  return JSON.stringify(document, undefined, 2).replaceAll(/^/gm, '   ');
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk);
  return text;
}
