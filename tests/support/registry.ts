/** A real registry for tests, on 127.0.0.1, with a store that is gone afterwards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from './loopback.ts';
import { requireTool, run } from './tools.ts';

/**
 * A registry's program: Debian's docker-registry 2.8, distribution 3, or one with the referrers API in memory
 * (tests/support/referrers-registry), which takes no other options; .ci/run builds the last two.
 */
export type RegistryProgram = 'docker-registry' | 'distribution-3' | 'referrers-registry';

/** Settings of the registry; all are optional. */
export interface RegistryOptions {
  /** `docker-registry` unless given. */
  readonly program?: RegistryProgram;
  /** Of the referrers registry: it answers a push with OCI-Subject. */
  readonly ociSubject?: boolean;
  /** False: it lets nothing be removed. */
  readonly deletes?: boolean;
  /** Sends notifications to a URL, with a header `Authorization`. */
  readonly notify?: { readonly url: string; readonly authorization: string };
  /** Lines of an htpasswd file with bcrypt hashes (see {@link htpasswdLine}): asks for Basic credentials. */
  readonly htpasswd?: string;
  /** Serve HTTPS with these PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Ask for bearer tokens of this server, signed by a key of the bundle (a PEM file). */
  readonly token?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    readonly bundle: string;
  };
}

/** A running registry. */
export interface TestRegistry {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** `http://host` or `https://host`. */
  readonly url: string;
  /** Directory of its store. */
  readonly root: string;
  /** Kills the process and starts it again on the same port and store. */
  restart(): Promise<void>;
  /** Kills the process; {@link restart} starts it again. */
  down(): Promise<void>;
  /** Ends it and removes its store. */
  stop(): Promise<void>;
}

/** Starts a registry on a free port and waits until it answers. Throws where its program is missing. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const program = requireTool(options.program ?? 'docker-registry');
  const directory = await mkdtemp(path.join(tmpdir(), 'accel-registry-'));
  const root = path.join(directory, 'store');
  await mkdir(root);
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const url = `${options.tls ? 'https' : 'http'}://${host}`;
  const config = path.join(directory, 'config.yml');
  if (options.htpasswd !== undefined) await writeFile(path.join(directory, 'htpasswd'), options.htpasswd);
  await writeFile(config, configuration(directory, root, host, options));

  const args =
    options.program === 'referrers-registry'
      ? ['-addr', host, ...(options.ociSubject === true ? ['-subject'] : [])]
      : ['serve', config];
  let child = await startProcess(program, args, url);
  return {
    host,
    url,
    root,
    async restart() {
      await stopProcess(child);
      child = await startProcess(program, args, url);
    },
    down: () => stopProcess(child),
    async stop() {
      await stopProcess(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** One line of an htpasswd file with the cheapest bcrypt hash (apache2-utils makes it). */
export async function htpasswdLine(user: string, password: string): Promise<string> {
  const { stdout } = await run('htpasswd', ['-inBC', '4', user], { input: password });
  return `${stdout.toString('utf8').trim()}\n`;
}

/** A certificate authority and a certificate for 127.0.0.1, localhost and `names` in `directory`, made by openssl. */
export async function makeCertificates(
  directory: string,
  names: readonly string[] = [],
): Promise<{ ca: string; cert: string; key: string }> {
  const subject = ['DNS:localhost', 'IP:127.0.0.1', ...names.map((name) => `DNS:${name}`)].join(',');
  const at = (name: string) => path.join(directory, name);
  const files = { ca: at('ca.crt'), cert: at('server.crt'), key: at('server.key') };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await run('openssl', [
    ...[
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      at('ca.key'),
      '-out',
      files.ca,
      '-days',
      '2',
      '-subj',
      '/CN=accel test CA',
    ],
  ]);
  await run('openssl', [
    ...['req', '-x509', ...newKey, '-keyout', files.key, '-out', files.cert, '-days', '2', '-subj', '/CN=localhost'],
    ...['-CA', files.ca, '-CAkey', at('ca.key'), '-addext', `subjectAltName=${subject}`],
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
  ]);
  return files;
}

function configuration(directory: string, root: string, host: string, options: RegistryOptions): string {
  const lines = ['version: 0.1', 'log:', '  level: error', '  accesslog:', '    disabled: true', 'storage:'];
  lines.push('  filesystem:', `    rootdirectory: ${root}`, '  delete:', `    enabled: ${options.deletes ?? true}`);
  lines.push('http:', `  addr: ${host}`, '  secret: accel-test');
  const { notify } = options;
  if (notify !== undefined) {
    lines.push('notifications:', '  endpoints:', '    - name: accel', `      url: ${notify.url}`);
    lines.push(`      headers: { Authorization: ["${notify.authorization}"] }`);
    lines.push('      timeout: 5s', '      threshold: 5', '      backoff: 1s');
  }
  if (options.tls) lines.push('  tls:', `    certificate: ${options.tls.cert}`, `    key: ${options.tls.key}`);
  const { token } = options;
  if (options.htpasswd !== undefined) {
    lines.push('auth:', '  htpasswd:', '    realm: accel-test', `    path: ${path.join(directory, 'htpasswd')}`);
  } else if (token) {
    lines.push('auth:', '  token:', `    realm: ${token.realm}`, `    service: ${token.service}`);
    lines.push(`    issuer: ${token.issuer}`, `    rootcertbundle: ${token.bundle}`);
  }
  return `${lines.join('\n')}\n`;
}

async function startProcess(program: string, args: readonly string[], url: string): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('utf8')).slice(-4000);
  });
  // A test run that ends early must not leave it behind.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.removeListener('exit', kill));
  for (let tries = 0; tries < 2400; tries += 1) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}: ${said}`);
    if (await answers(url)) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.kill('SIGKILL');
  throw new Error(`${program} did not answer at ${url} within two minutes: ${said}`);
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function answers(url: string): Promise<boolean> {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve) => {
    const probe = request(`${url}/v2/`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200 || response.statusCode === 401);
    });
    probe.on('error', () => resolve(false));
    probe.end();
  });
}
