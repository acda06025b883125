/** The container image for tests: built by buildah from the Dockerfile, on a Debian in place of node:24-slim, and run in a chroot. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fetchServerNode, serverNode } from '../../scripts/server-node.ts';
import { run, type TempDirectory, tempDirectory } from './tools.ts';

const PROJECT = join(import.meta.dirname, '../..');
const CACHE = process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');
const ROOTFS = join(CACHE, 'tools/debian-base-12/rootfs.tar');
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';
const IMAGE = 'localhost/accel:test';
const BASE = 'localhost/accel-base:test';
/** Milliseconds for one command of buildah: the build installs packages and compiles. */
const TIMEOUT = 600_000;

/** The surroundings of a command in the image. */
interface ContainerOptions {
  /** Runs as root without capabilities, as a pod does; as the user of the image unless given. */
  readonly asRoot?: boolean;
  /** Folders of this machine by their path in the container. */
  readonly folders?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** A built image. */
export interface BuiltImage {
  /** Folder with the image as an OCI layout, tag `latest`; in containers it is at /layout. */
  readonly layout: string;
  /** The configuration of the image. */
  readonly config: {
    readonly User: string;
    readonly Entrypoint: readonly string[];
    readonly Env: readonly string[];
  };
  /** Runs a command in the image; its output. */
  run(command: readonly string[], options?: ContainerOptions): Promise<string>;
  /** Removes everything. */
  remove(): Promise<void>;
}

/** Why the image cannot be built here; undefined where it can. */
export function missingBase(): string | undefined {
  return existsSync(ROOTFS) || process.env.CI ? undefined : 'not built: fixtures/image-base/build.sh';
}

/** Builds the image. */
export async function buildImage(): Promise<BuiltImage> {
  const scratch = await tempDirectory('accel-image-');
  const buildah = async (args: readonly string[]): Promise<string> => {
    const storage = [
      '--root',
      join(scratch.path, 'store'),
      '--runroot',
      join(scratch.path, 'run'),
      '--storage-driver',
      'vfs',
    ];
    const { stdout } = await run('buildah', [...storage, ...args], { timeout: TIMEOUT, env: { STORAGE_OPTS: '' } });
    return stdout.toString('utf8').trim();
  };
  try {
    await makeBase(buildah);
    await writeFile(join(scratch.path, 'npmrc'), `cafile=${AUTHORITIES}\n`);
    const volumes = [
      `${AUTHORITIES}:${AUTHORITIES}:ro`,
      `${join(scratch.path, 'npmrc')}:/root/.npmrc:ro`,
      `${await npmCache()}:/root/.npm:rw`,
    ].flatMap((volume) => ['--volume', volume]);
    const options = [
      '--quiet',
      '--isolation',
      'chroot',
      '--layers=false',
      '--build-arg',
      `BASE=${BASE}`,
      '--tag',
      IMAGE,
    ];
    await buildah(['build', ...options, ...volumes, PROJECT]);
    return await opened(buildah, scratch);
  } catch (error) {
    await scratch.remove();
    throw error;
  }
}

async function opened(
  buildah: (args: readonly string[]) => Promise<string>,
  scratch: TempDirectory,
): Promise<BuiltImage> {
  const layout = join(scratch.path, 'layout');
  await buildah(['push', '--quiet', IMAGE, `oci:${layout}:latest`]);
  // The user of the image writes its results there.
  for (const entry of ['', ...(await readdir(layout, { recursive: true }))]) await chmod(join(layout, entry), 0o777);
  const { OCIv1 } = JSON.parse(await buildah(['inspect', '--type', 'image', IMAGE])) as {
    readonly OCIv1: { readonly config: BuiltImage['config'] };
  };
  const container = await buildah(['from', IMAGE]);
  return {
    layout,
    config: OCIv1.config,
    run: (command, { asRoot = false, folders = {}, env = {} } = {}) => {
      const user = asRoot ? ['--user', '0:0', '--cap-drop', 'all'] : [];
      const volumes = Object.entries({ '/layout': layout, ...folders }).flatMap(([at, from]) => [
        '--volume',
        `${from}:${at}`,
      ]);
      const variables = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
      return buildah(['run', '--isolation', 'chroot', ...user, ...volumes, ...variables, container, '--', ...command]);
    },
    remove: () => scratch.remove(),
  };
}

/** A Debian with Node 24 and npm where node:24-slim has them. */
async function makeBase(buildah: (args: readonly string[]) => Promise<string>): Promise<void> {
  if (!existsSync(ROOTFS)) execFileSync(join(PROJECT, 'fixtures/image-base/build.sh'), { stdio: 'ignore' });
  await fetchServerNode();
  const container = await buildah(['from', 'scratch']);
  const root = await buildah(['mount', container]);
  await run('tar', ['-C', root, '-xf', ROOTFS]);
  await cp(serverNode(), join(root, 'usr/local/bin/node'));
  const modules = join(root, 'usr/local/lib/node_modules');
  await mkdir(modules, { recursive: true });
  const npm = (await run('npm', ['root', '--global'])).stdout.toString('utf8').trim();
  await cp(join(npm, 'npm'), join(modules, 'npm'), { recursive: true, verbatimSymlinks: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
  await buildah(['umount', container]);
  await buildah(['commit', '--quiet', '--rm', container, BASE]);
}

/** npm's cache on this machine, so that the build fetches what is new alone. */
async function npmCache(): Promise<string> {
  const folder = (await run('npm', ['config', 'get', 'cache'])).stdout.toString('utf8').trim();
  await mkdir(folder, { recursive: true });
  return folder;
}
