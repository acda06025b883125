/**
 * An npm registry on loopback that holds accel as a release would upload it and the runtime packages of this project's own
 * node_modules, so that real `npm install` and real `npx` can be watched without any network.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { run } from './tools.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** A registry that runs. */
export interface NpmRegistry {
  /** `http://127.0.0.1:PORT/`. */
  readonly url: string;
  /** Environment for npm and npx: this registry, a cache of their own, and nothing said that is not asked. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends it. */
  stop(): Promise<void>;
}

interface Published {
  readonly manifest: { readonly name: string; readonly version: string };
  readonly tarball: Buffer;
}

interface LockEntry {
  readonly dev?: boolean;
}

/** Packs everything into `scratch` (a folder that the caller removes) and serves it on a free port. */
export async function startNpmRegistry(scratch: string): Promise<NpmRegistry> {
  const packages = await pack(scratch);
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname).slice(1);
    const base = `http://${request.headers.host}/`;
    const [name = '', file] = path.split('/-/');
    const found = packages.filter(({ manifest }) => manifest.name === name);
    const one = found.find(({ manifest }) => file === fileName(manifest));
    if (one !== undefined) response.end(one.tarball);
    else if (found.length > 0 && file === undefined) sendJson(response, packument(name, found, base));
    // Optional peers, which npm asks for and does without.
    else sendJson(response, { error: 'not found' }, 404);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    url,
    env: {
      npm_config_registry: url,
      npm_config_cache: join(scratch, 'npm-cache'),
      npm_config_update_notifier: 'false',
      npm_config_audit: 'false',
      npm_config_fund: 'false',
      npm_config_yes: 'true',
      // Variables that npm sets for the scripts that it runs, `npm test` among them, would mislead the inner one.
      npm_config_local_prefix: '',
      npm_config_prefix: join(scratch, 'npm-prefix'),
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function pack(scratch: string): Promise<Published[]> {
  const folder = join(scratch, 'npm-packages');
  await mkdir(folder, { recursive: true });
  // No scripts: `prepare` would build over the files that other tests are running.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await run('npm', args, { cwd: ROOT });
  const [report] = JSON.parse(stdout.toString('utf8')) as { filename: string }[];
  const own = {
    manifest: await readJson(join(ROOT, 'package.json')),
    tarball: await readFile(join(folder, report!.filename)),
  };
  const lock = (await readJson(join(ROOT, 'package-lock.json'))) as { packages: Record<string, LockEntry> };
  const paths = Object.entries(lock.packages)
    .filter(([path, { dev }]) => path !== '' && dev !== true)
    .map(([path]) => join(ROOT, path));
  return [own as Published, ...(await Promise.all(paths.map(packInstalled)))];
}

async function packInstalled(path: string): Promise<Published> {
  // A tarball of npm has one folder at its top, and never the packages that were installed below it.
  const args = ['czf', '-', '--exclude', './node_modules', '--transform', 's,^\\.,package,', '-C', path, '.'];
  const { stdout } = await run('tar', args);
  return { manifest: (await readJson(join(path, 'package.json'))) as Published['manifest'], tarball: stdout };
}

function packument(name: string, found: readonly Published[], base: string): unknown {
  const versions = found.map(({ manifest, tarball }) => {
    const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    return [manifest.version, { ...manifest, dist: { integrity, tarball: `${base}${name}/-/${fileName(manifest)}` } }];
  });
  return { name, 'dist-tags': { latest: found[0]!.manifest.version }, versions: Object.fromEntries(versions) };
}

function fileName({ name, version }: Published['manifest']): string {
  return `${name.slice(name.indexOf('/') + 1)}-${version}.tgz`;
}

function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'));
}
