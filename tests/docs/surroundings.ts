/**
 * Where the commands of the documentation are run unchanged: `registry.example.com` is a real registry with TLS on
 * loopback, behind a proxy and a certificate authority; npm's registry is one on loopback with the packed package.
 */
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { type HostProxy, startHostProxy } from '../support/host-proxy.ts';
import { type NpmRegistry, startNpmRegistry } from '../support/npm-registry.ts';
import { makeCertificates, startRegistry, type TestRegistry } from '../support/registry.ts';
import { type RunOptions, type RunResult, run, type TempDirectory, tempDirectory } from '../support/tools.ts';

/** Host names that the documentation uses for registries. */
export const HOSTS = ['registry.example.com', 'backup.example.com', 'ghcr.io'] as const;

/** Runs `accel export nbd` until it serves, and interrupts it then: the one command that does not end by itself. */
const ONE_SHOT = `
import { spawn } from 'node:child_process';
const child = spawn('accel', process.argv.slice(2), { stdio: ['ignore', 'pipe', 'inherit'] });
child.stdout.once('data', () => child.kill('SIGINT'));
child.on('close', (code) => { process.exitCode = code ?? 1; });
`;

/** The output of strace for a program that opens one file. */
const SEEN = '100 openat(AT_FDCWD, "/usr/lib/app.js", O_RDONLY|O_CLOEXEC) = 3\n';

/** The payload of a workflow that is dispatched for a push of the image. */
const EVENT = { action: 'pushed', client_payload: { repository: 'ghcr.io/team/app', tag: '1.2' } };

/** The surroundings, set up. */
export interface Surroundings {
  readonly npm: NpmRegistry;
  /** An empty folder but for what the pages say is there: an image layout, a password, a prefetch list, a list of images, rules, what strace saw, an event. */
  folder(name: string): Promise<string>;
  /** Runs a script with bash in a folder; throws with its output when a command of it fails. */
  script(text: string, cwd: string): Promise<RunResult>;
  /** Environment of what is run. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Sets everything up; takes some seconds. */
export async function setUp(): Promise<Surroundings> {
  const scratch: TempDirectory = await tempDirectory('accel-docs-');
  const at = (name: string) => join(scratch.path, name);
  const stops: (() => Promise<void>)[] = [() => scratch.remove()];
  const stop = async () => {
    for (const end of stops.reverse()) await end();
  };
  try {
    await mkdir(at('certificates'));
    const tls = await makeCertificates(at('certificates'), HOSTS);
    const registry: TestRegistry = await startRegistry({ tls });
    stops.push(() => registry.stop());
    const proxy: HostProxy = await startHostProxy(registry.host);
    stops.push(() => proxy.stop());
    const npm = await startNpmRegistry(scratch.path);
    stops.push(() => npm.stop());
    await makeImage(at('image'));
    for (const name of ['team/app:1.2', 'app:1.2']) {
      const target = `docker://${registry.host}/${name}`;
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${at('image')}:latest`, target]);
    }
    await writeFile(at('one-shot.mjs'), ONE_SHOT);
    for (const folder of ['home/.zfunc', 'home/.config/fish/completions', 'home/tmp'])
      await mkdir(at(folder), { recursive: true });
    const env = {
      ...npm.env,
      HOME: at('home'),
      DOCKER_CONFIG: at('home'),
      TMPDIR: at('home/tmp'),
      NO_COLOR: '1',
      HTTPS_PROXY: proxy.url,
      // npm would send even plain HTTP through it.
      NO_PROXY: '127.0.0.1',
      NODE_EXTRA_CA_CERTS: tls.ca,
      SSL_CERT_FILE: tls.ca,
      // Where `npm install -g` puts what it installs.
      PATH: `${at('npm-prefix/bin')}${delimiter}${process.env.PATH}`,
    };
    return {
      npm,
      env,
      async folder(name) {
        const path = at(`folder-${name.replaceAll('/', '-')}`);
        await rm(path, { recursive: true, force: true });
        await cp(at('image'), join(path, 'layout'), { recursive: true });
        await writeFile(join(path, 'token'), 'secret\n');
        await writeFile(join(path, 'startup.txt'), '/usr/lib/app.js\n');
        await writeFile(join(path, 'images.txt'), `${HOSTS[0]}/team/app:1.2\n`);
        await writeFile(join(path, 'rules.yaml'), `rules:\n  - repositories: ["${HOSTS[0]}/app"]\n`);
        await writeFile(join(path, 'seen.txt'), SEEN);
        await writeFile(join(path, 'event.json'), JSON.stringify(EVENT));
        return path;
      },
      script: (text, cwd) => runScript(text, { cwd, env, timeout: 110_000 }, at('one-shot.mjs')),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function runScript(text: string, options: RunOptions, oneShot: string): Promise<RunResult> {
  const prelude = `set -euo pipefail
accel() {
  if [[ "$1 \${2-}" == 'export nbd' ]]; then
    local address=(--listen 127.0.0.1:0)
    if [[ " $* " == *' --socket '* || " $* " == *' --listen '* ]]; then address=(); fi
    node '${oneShot}' "$@" "\${address[@]}"
  else
    command accel "$@"
  fi
}
`;
  // A fixed path is a path that two runs at a time would share.
  const body = text.replaceAll('/tmp/app.sock', '$HOME/tmp/app.sock');
  return run('bash', ['--norc', '-c', prelude + body], options);
}

/** Paths that the pages look for in an image. */
async function makeImage(directory: string): Promise<void> {
  const base = new TarBuilder();
  for (const name of ['etc', 'usr', 'usr/bin', 'usr/lib', 'usr/share', 'usr/share/doc']) base.dir(`${name}/`);
  base
    .symlink('bin', 'usr/bin')
    .file('etc/os-release', 'NAME="Example"\n')
    .file('usr/bin/ls', 'no program\n', { mode: 0o755 })
    .file('usr/share/doc/copyright', 'none\n');
  const app = new TarBuilder().file('usr/lib/app.js', 'console.log(1);\n'.repeat(5000));
  await buildLayout(directory, 'latest', [{ tar: base.build() }, { tar: app.build() }], {
    config: { Cmd: ['/usr/bin/ls'] },
  });
}
