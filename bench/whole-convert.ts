/** Measures accel and the tools of whole-tools.ts from a registry to a registry, each time in a repository of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openTarget } from '../oci/open.ts';
import { openRegistry } from '../oci/registry/registry-target.ts';
import { findTool } from '../tests/support/tools.ts';
import { measureCommand, runMeasured, together, type Usage } from './child.ts';
import { type Candidate, CLI } from './convert.ts';
import type { BenchImage } from './layout.ts';
import { FOLDER_PREFIX } from './make-image.ts';
import type { BenchOptions } from './options.ts';
import { pushImage } from './push-image.ts';
import { MODES } from './scenarios.ts';
import { missingPrograms, WHOLE_TOOLS, type WholeConversion, type WholePlace } from './whole-tools.ts';

/** Prefix of the names of accel's own rows. */
const ACCEL = 'accel, registry:';
/** Debian's registry, which `startRegistry` starts. */
const REGISTRY = 'docker-registry';
/** Milliseconds that a program of a tool may take: one that hangs is reported by its name. */
const LONGEST = 600_000;
/** The modes of accel that run beside the tools. */
const ACCEL_MODES = ['full', 'index-only', 'both'];

/** The registry between which and itself everything is converted, and where folders are made. */
interface WholeWork {
  readonly image: BenchImage;
  /** `127.0.0.1:port`, plain HTTP. */
  readonly host: string;
  readonly directory: string;
}

/** The programs that are not here: of the tools, and the registry between which everything runs. */
export function missingForWhole(): string[] {
  return [...WHOLE_TOOLS.flatMap(missingPrograms), ...(findTool(REGISTRY) === undefined ? [REGISTRY] : [])];
}

/** Whether a tool and the registry are there; accel alone is no comparison. */
export function canMeasureWhole(): boolean {
  return findTool(REGISTRY) !== undefined && WHOLE_TOOLS.some((tool) => missingPrograms(tool).length === 0);
}

/** The candidates of one turn: accel's modes and every tool that is there; none when no tool is. */
export function wholeCandidates(work: WholeWork, { modes }: Pick<BenchOptions, 'modes'>): Candidate[] {
  const tools = WHOLE_TOOLS.filter((tool) => missingPrograms(tool).length === 0);
  const theirs = tools
    .flatMap(({ conversions }) => conversions)
    .filter(({ mode }) => mode === undefined || modes.includes(mode));
  if (theirs.length === 0) return [];
  const ours = MODES.filter(({ name }) => ACCEL_MODES.includes(name) && modes.includes(name));
  return [
    ...ours.map(({ name, flags }) => ({ what: `${ACCEL} ${name}`, run: () => byAccel(work, flags) })),
    ...theirs.map((conversion) => ({ what: conversion.what, run: () => byTool(work, conversion) })),
  ];
}

async function byAccel(work: WholeWork, flags: readonly string[]) {
  return withRepository(work, async ({ repository }) => {
    const args = ['convert', '-r', repository, '-i', 'latest', '--plain', ...flags, '--json'];
    const { usage, stdout } = await runMeasured(CLI, args);
    const { tags } = JSON.parse(stdout) as { tags: readonly { digest: string }[] };
    const digests = tags.map(({ digest }) => digest);
    return { usage, pushed: await bytesOf(repository, digests) };
  });
}

/** A tool that fails is a result: accel's own rows and the other tools are measured all the same. */
async function byTool(work: WholeWork, { tags, commands }: WholeConversion) {
  return withRepository(work, async (place) => {
    try {
      const usages: Usage[] = [];
      for (const command of commands(place))
        usages.push((await measureCommand({ ...command, timeout: LONGEST })).usage);
      return { usage: together(usages), pushed: await bytesOf(place.repository, tags) };
    } catch (error) {
      return { failed: (error as Error).message };
    }
  });
}

let made = 0;

/** Runs `body` with a repository that has nothing but the source and a folder that is gone afterwards. */
async function withRepository<T>(work: WholeWork, body: (place: WholePlace) => Promise<T>): Promise<T> {
  made += 1;
  const name = `whole-${made}`;
  const from = await openTarget({ kind: 'layout', directory: work.image.layout });
  const to = await openRegistry({ registry: work.host, repository: name }, { plain: true });
  try {
    await pushImage(from, to, 'latest', 'latest');
  } finally {
    await to.close();
  }
  const folder = await mkdtemp(join(work.directory, `${FOLDER_PREFIX}whole-`));
  try {
    return await body({ repository: `${work.host}/${name}`, folder });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Document {
  readonly config?: Linked;
  readonly layers?: readonly Linked[];
  readonly manifests?: readonly Linked[];
}

interface Linked {
  readonly digest: string;
  readonly size: number;
}

const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/** Bytes of the blobs that `references` name in a repository and the source does not; throws for one that is not there. */
async function bytesOf(repository: string, references: readonly string[]): Promise<number> {
  const source = await blobsOf(repository, 'latest');
  const blobs = new Map<string, number>();
  for (const reference of references)
    for (const [digest, size] of await blobsOf(repository, reference)) if (!source.has(digest)) blobs.set(digest, size);
  return [...blobs.values()].reduce((sum, size) => sum + size, 0);
}

async function blobsOf(repository: string, reference: string): Promise<Map<string, number>> {
  const [host, name] = repository.split('/');
  const response = await fetch(`http://${host}/v2/${name}/manifests/${reference}`, {
    headers: { accept: MANIFEST_TYPES },
  });
  if (!response.ok) throw new Error(`it ended well, but the registry answers ${response.status} for its ${reference}`);
  const { config, layers = [], manifests = [] } = (await response.json()) as Document;
  const own = [...(config === undefined ? [] : [config]), ...layers].map(({ digest, size }) => [digest, size] as const);
  const below = await Promise.all(manifests.map(({ digest }) => blobsOf(repository, digest)));
  return new Map([...own, ...below.flatMap((blobs) => [...blobs])]);
}
