/**
 * The package as a user gets it: packed, installed by npm into an empty folder, run by npx. ACCEL_NODE_VERSIONS="20 22 24 26"
 * runs it on each of these, fetched by `npx node@VERSION`; otherwise on the Node that runs the tests.
 */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConvertDocument, convert } from '../support/accel.ts';
import { type NpmRegistry, startNpmRegistry } from '../support/npm-registry.ts';
import { findTool, run, type TempDirectory, tempDirectory } from '../support/tools.ts';

const DEMO = join(import.meta.dirname, '../../fixtures/images/demo');
const VERSIONS = (process.env.ACCEL_NODE_VERSIONS ?? '').split(/\s+/).filter((version) => version !== '');
const ZSTD = ['-o', 'latest_zstd', '--algorithm', 'zstd', '--bs', '32'];

describe('the packed package', () => {
  let scratch: TempDirectory;
  let registry: NpmRegistry;
  let folder: string;
  let expected: string[];
  let expectedZstd: string[];

  beforeAll(async () => {
    scratch = await tempDirectory();
    registry = await startNpmRegistry(scratch.path);
    folder = await emptyFolder('installed');
    // Nothing may be compiled or downloaded by scripts; if a package wanted to, this would leave it broken.
    await run('npm', ['install', '--ignore-scripts', 'accel-image'], { cwd: folder, env: registry.env });
    const layout = join(scratch.path, 'expected');
    await cp(DEMO, layout, { recursive: true });
    expected = digestsOf(await convert(['-r', `oci:${layout}`, '-i', 'latest']));
    expectedZstd = digestsOf(await convert(['-r', `oci:${layout}`, '-i', 'latest', ...ZSTD]));
  });
  afterAll(async () => {
    await registry?.stop();
    await scratch?.remove();
  });

  async function emptyFolder(name: string): Promise<string> {
    const path = join(scratch.path, name);
    await cp(DEMO, join(path, 'layout'), { recursive: true });
    return path;
  }

  it('installs without a script, a compiler or a native module', async () => {
    const files = await readdir(join(folder, 'node_modules'), { recursive: true, withFileTypes: true });
    const manifests = files.filter(({ name, parentPath }) => name === 'package.json' && isPackage(parentPath));
    expect(manifests.length).toBeGreaterThan(8);
    for (const { parentPath } of manifests) {
      const { name, scripts = {} } = JSON.parse(await readFile(join(parentPath, 'package.json'), 'utf8'));
      // accel's own `prepare` is for a clone: npm does not run it for a tarball.
      const run = Object.keys(scripts).filter((script) => /^(pre|post)?install$/.test(script));
      expect(run, name).toEqual([]);
    }
    expect(files.filter(({ name }) => name === 'binding.gyp' || name.endsWith('.node'))).toEqual([]);
  });

  it('brings nothing of the server, and says how to install it', async () => {
    const names = await readdir(join(folder, 'node_modules'));
    expect(names.filter((name) => /^(accel-image-server|prom-client|yaml|zod)$/.test(name))).toEqual([]);
    const cli = join(folder, 'node_modules', 'accel-image', 'dist', 'program', 'main.js');
    for (const args of [
      ['serve', '--help'],
      ['agent', '--help'],
      ['serve', '-c', 'accel.yaml'],
    ]) {
      const { exitCode, stderr } = await run(process.execPath, [cli, ...args], { cwd: folder, accept: [2] });
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/^ .* npm install accel-image-server@\S+$/m);
    }
  });

  it('reads accel.yaml without a package for YAML', async () => {
    await writeFile(join(folder, 'accel.yaml'), 'algorithm: zstd\n');
    const cli = join(folder, 'node_modules', 'accel-image', 'dist', 'program', 'main.js');
    const { stdout } = await run(process.execPath, [cli, 'config'], { cwd: folder });
    expect(stdout.toString('utf8')).toMatch(/--algorithm +zstd +\S+accel\.yaml:1\n/);
    await rm(join(folder, 'accel.yaml'));
  });

  it('npx accel-image convert, verbatim, in an empty folder', async () => {
    const cwd = await emptyFolder('npx');
    const args = ['accel-image', 'convert', '-r', 'oci:./layout', '-i', 'latest', '--json'];
    const { stdout } = await run('npx', args, { cwd, env: registry.env });
    expect(digestsOf(JSON.parse(stdout.toString('utf8')))).toEqual(expected);
    expect(await readdir(cwd)).toEqual(['layout']);
  });

  it.each(VERSIONS.length > 0 ? VERSIONS : ['current'])(
    'Node %s makes the same digests, of the same bytes',
    async (version) => {
      const node = version === 'current' ? process.execPath : await nodeOfVersion(version);
      const cwd = await emptyFolder(`on-${version}`);
      const cli = join(folder, 'node_modules', 'accel-image', 'dist', 'program', 'main.js');
      const onNode = (args: readonly string[]) => run(node, [cli, ...args], { cwd });
      const { stdout } = await onNode(['convert', '-r', 'oci:./layout', '-i', 'latest', '--json']);
      expect(digestsOf(JSON.parse(stdout.toString('utf8')))).toEqual(expected);
      // Node's own zstd makes the blocks where it has one, the package elsewhere.
      const zstd = await onNode(['convert', '-r', 'oci:./layout', '-i', 'latest', '--json', ...ZSTD]);
      expect(digestsOf(JSON.parse(zstd.stdout.toString('utf8')))).toEqual(expectedZstd);
      for (const tag of ['latest_accelerated', 'latest_containerd_accelerated']) {
        const verified = await onNode(['verify', `oci:./layout:${tag}`, '--json']);
        expect(JSON.parse(verified.stdout.toString('utf8'))).toMatchObject({ identical: true });
      }
      // The library too: every export is there when the package is imported by its name.
      const program = "import * as accel from 'accel-image'; console.log(Object.keys(accel).sort().join(' '))";
      const library = await run(node, ['--input-type=module', '-e', program], { cwd: folder });
      expect(library.stdout.toString('utf8').trim().split(' ')).toEqual(
        expect.arrayContaining(['convert', 'inspect', 'openImage', 'planConversion', 'verify']),
      );
    },
    120_000,
  );
});

/** Whether a folder is a package, and not a part of one. */
function isPackage(path: string): boolean {
  return /[/\\]node_modules[/\\](@[^/\\]+[/\\])?[^/\\]+$/.test(path);
}

/** Every digest of a result: of the tags, and of the layers below them. */
function digestsOf({ tags }: ConvertDocument): string[] {
  return tags.flatMap(({ tag, digest, manifests }) => [
    `${tag} ${digest}`,
    ...manifests.flatMap(({ layers }) => layers.map((layer) => layer.digest)),
  ]);
}

/** The program of a Node version, from npm's registry or npx's cache. */
async function nodeOfVersion(version: string): Promise<string> {
  // The PATH without the folders that npm adds to it, where `node` is this project's.
  const npx = findTool('npx')!;
  const env = { PATH: `${dirname(npx)}${delimiter}${process.env.PATH}` };
  const { stdout } = await run(npx, ['-y', `node@${version}`, '-p', 'process.execPath + " " + process.version'], {
    env,
  });
  const [path = '', found = ''] = stdout.toString('utf8').trim().split(' ');
  if (!found.startsWith(`v${version}.`)) throw new Error(`npx node@${version} is ${found}`);
  return path;
}
