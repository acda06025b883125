/**
 * `npm run demo`: converts the bundled image, an OCI image layout, with the built command line in a folder of its own,
 * shows the tags of the layout before and after, and removes the folder.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REF_NAME = 'org.opencontainers.image.ref.name';
const IMAGE = 'fixtures/images/demo';
const CLI = fileURLToPath(new URL('../program/main.js', import.meta.url));

interface IndexEntry {
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

// Ctrl-C reaches the command too, since it is in the same process group: wait for it, then clean up.
process.on('SIGINT', () => undefined);

const folder = await mkdtemp(join(tmpdir(), 'accel-demo-'));
try {
  const layout = join(folder, 'layout');
  await cp(IMAGE, layout, { recursive: true });
  await show(layout, 'The image before');
  const args = ['convert', '-r', 'oci:layout', '-i', 'latest'];
  console.log(`\n$ accel ${args.join(' ')}\n`);
  process.exitCode = await run(args, folder);
  if (process.exitCode === 0) {
    console.log('');
    await show(layout, 'The image layout after');
    console.log('\nThe layout was a copy in a temporary folder, which is gone now.');
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The tags of a layout and the size of all its blobs. */
async function show(layout: string, title: string): Promise<void> {
  const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: IndexEntry[] };
  const blobs = join(layout, 'blobs', 'sha256');
  let bytes = 0;
  for (const name of await readdir(blobs)) bytes += (await stat(join(blobs, name))).size;
  console.log(`${title}: ${(bytes / 1000).toFixed(0)} kB in all, tags`);
  for (const { digest, annotations } of index.manifests) {
    console.log(`  ${(annotations?.[REF_NAME] ?? '(none)').padEnd(32)} ${digest.slice(0, 19)}…`);
  }
}

function run(args: readonly string[], cwd: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { cwd, stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}
