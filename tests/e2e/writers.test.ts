/** Processes that write to one layout or archive at the same time, also such that are killed: no tag is lost. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { TarBuilder } from '../../fixtures/tar-builder.ts';
import { digestOf } from '../../oci/digest.ts';
import { encodeJson } from '../../oci/manifest.ts';
import { openTarget } from '../../oci/open.ts';
import { canListImages } from '../../oci/powers.ts';
import { parseReference } from '../../oci/reference.ts';
import { accel, requireBuild } from '../support/accel.ts';
import { readTags } from '../support/oci-layout.ts';
import { withTempDirectory } from '../support/tools.ts';

const DIST = join(import.meta.dirname, '../../dist');
const PROCESSES = 8;
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** Opens a place again and again, gives it a tag of its own each time, and writes the tag when it is there for good. */
const WRITER = `
  import { openTarget } from '${DIST}/oci/open.js';
  import { parseReference } from '${DIST}/oci/reference.js';
  import { digestOf } from '${DIST}/oci/digest.js';
  import { encodeJson } from '${DIST}/oci/manifest.js';
  const [place, name, rounds] = process.argv.slice(1);
  for (let round = 0; round < Number(rounds); round++) {
    const target = await openTarget(parseReference(place), { create: true });
    const bytes = encodeJson({ schemaVersion: 2, mediaType: '${INDEX}', manifests: [], annotations: { name, round: String(round) } });
    const descriptor = { mediaType: '${INDEX}', digest: digestOf(bytes), size: bytes.length };
    await target.push(descriptor, { async *open() { yield bytes; } });
    await target.tag(descriptor, name + '-' + round);
    await target.close?.();
    process.stdout.write(name + '-' + round + '\\n');
  }
`;

interface Writer {
  readonly child: ChildProcess;
  /** Tags that the writer says are there. */
  readonly written: string[];
  /** Exit code, or null for one that was killed. */
  readonly ended: Promise<number | null>;
  readonly errors: string[];
}

function write(place: string, name: string, rounds: number): Writer {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, place, name, String(rounds)]);
  const written: string[] = [];
  const errors: string[] = [];
  child.stdout.on('data', (data: Buffer) => written.push(...data.toString().split('\n').filter(Boolean)));
  child.stderr.on('data', (data: Buffer) => errors.push(data.toString()));
  return { child, written, errors, ended: once(child, 'close').then(([code]) => code as number | null) };
}

/** The tags of a place, each of which must be whole. */
async function tagsIn(place: string): Promise<string[]> {
  const target = await openTarget(parseReference(place));
  const tags: string[] = [];
  for (const { digest, size, annotations = {} } of canListImages(target) ? await target.images() : []) {
    const name = annotations['org.opencontainers.image.ref.name']!;
    const [writer, round] = name.split('-');
    const manifest = { schemaVersion: 2, mediaType: INDEX, manifests: [], annotations: { name: writer, round } };
    expect({ digest, size }).toEqual({ digest: digestOf(encodeJson(manifest)), size: encodeJson(manifest).length });
    expect(await target.exists({ mediaType: INDEX, digest, size })).toBe(true);
    tags.push(name);
  }
  await target.close?.();
  return tags.sort();
}

test.each([
  ['layout', 'oci', 50],
  ['archive', 'oci-archive', 8],
])(
  `${PROCESSES} processes at one %s`,
  async (_, scheme, rounds) => {
    await requireBuild();
    await withTempDirectory(async (directory) => {
      const place = `${scheme}:${join(directory, 'place')}`;
      const writers = Array.from({ length: PROCESSES }, (_, i) => write(place, `w${i}`, rounds));
      const codes = await Promise.all(writers.map(({ ended }) => ended));
      expect({ codes, errors: writers.flatMap(({ errors }) => errors) }).toEqual({
        codes: writers.map(() => 0),
        errors: [],
      });
      const written = writers.flatMap((writer) => writer.written);
      expect(written).toHaveLength(PROCESSES * rounds);
      expect(await tagsIn(place)).toEqual(written.sort());
      const left = (await readdir(directory, { recursive: true })).filter((name) => name.includes('.accel-'));
      expect(left).toEqual([]);
    });
  },
  300_000,
);

test.each([
  ['layout', 'oci'],
  ['archive', 'oci-archive'],
])(
  'writers at one %s, of which some are killed by SIGKILL: what was written stays, the others go on',
  async (_, scheme) => {
    await requireBuild();
    await withTempDirectory(async (directory) => {
      const place = `${scheme}:${join(directory, 'place')}`;
      const rounds = scheme === 'oci' ? 40 : 8;
      const lasting = [write(place, 'a', rounds), write(place, 'b', rounds)];
      const victims: Writer[] = [];
      for (let i = 0; i < 6; i++) {
        const victim = write(place, `k${i}`, 1000);
        victims.push(victim);
        // At another moment of its work each time.
        await once(victim.child.stdout!, 'data');
        await new Promise((resolve) => setTimeout(resolve, i * 3));
        victim.child.kill('SIGKILL');
        await victim.ended;
      }
      expect(await Promise.all(lasting.map(({ ended }) => ended))).toEqual([0, 0]);
      const last = write(place, 'z', 1);
      expect(await last.ended).toBe(0);
      const tags = new Set(await tagsIn(place));
      const written = [...lasting, ...victims, last].flatMap((writer) => writer.written);
      expect(written.filter((tag) => !tags.has(tag))).toEqual([]);
      const left = (await readdir(directory, { recursive: true })).filter((name) => name.includes('.accel-'));
      expect(left).toEqual([]);
    });
  },
  300_000,
);

test(`${PROCESSES} conversions into one layout: every tag is there`, async () => {
  await withTempDirectory(async (directory) => {
    const tar = new TarBuilder().dir('etc/').file('etc/hosts', 'localhost\n').build();
    await buildLayout(directory, 't', [{ tar }]);
    const outputs = Array.from({ length: PROCESSES }, (_, i) => `out${i}`);
    const runs = await Promise.all(
      outputs.map((tag) => accel(['convert', '-r', `oci:${directory}`, '-i', 't', '-o', tag, '-q', '--workers', '0'])),
    );
    expect(runs.map(({ exitCode }) => exitCode)).toEqual(outputs.map(() => 0));
    expect([...(await readTags(directory)).keys()]).toEqual(expect.arrayContaining([...outputs, 't', 'accel-cache']));
  });
});
