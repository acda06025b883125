/** One random stack through the whole product: converted in both modes, read back, compared with the model. */
import { AccelError } from '../../base/error.ts';
import type { ConvertEvent } from '../../converter/events.ts';
import type { LayerCompression } from '../../fixtures/compress.ts';
import { tarOfEntries } from '../../fixtures/stack-entry.ts';
import { Ext4Reader } from '../../formats/ext4/reader.ts';
import { treeOf } from '../../formats/ext4/testing/reader-tree.ts';
import { MemoryTarget } from '../../oci/memory-target.ts';
import type { MappedDevice } from '../../reader/block-device.ts';
import { type DeviceBlocks, differingBlocks, readBlocks } from '../support/device-blocks.ts';
import { pathsWithMixedTimes } from '../support/ext4-judge.ts';
import type { RandomStack } from '../support/sound-stacks.ts';
import { type Refusal, readStack } from '../support/stack-model.ts';
import { diffTrees, type TreeEntry, withoutLostAndFound } from '../support/tree.ts';
import { convertStack, openPrefixes, putSource } from './convert-stack.ts';
import type { JudgedImages } from './outside-judge.ts';

/** A stack and how it is converted. */
export interface StackCase {
  readonly stack: RandomStack;
  /** Of each layer; longer than the stack. */
  readonly compressions: readonly LayerCompression[];
  /** Layers to convert beforehand and take over from the record; undefined to leave that out. */
  readonly takeOver: number | undefined;
  /** Convert once more with threads. */
  readonly threads: boolean;
  /** Lay the layers out for a start; layers are not taken over then. */
  readonly laidOut?: boolean;
  /** Numbers of lowest layers whose device is read back; by default every one. */
  readonly prefixes?: readonly number[];
}

/** Counts of what was compared, so that a test can see that it was not empty. */
export interface StackCounts {
  stacks: number;
  refused: number;
  entries: number;
  /** Layer prefixes whose device was read back. */
  prefixes: number;
  /** Paths of all trees that were compared. */
  paths: number;
  takenOver: number;
  threaded: number;
  laidOut: number;
  /** Images that a judge from outside read. */
  judgedOutside: number;
}

/** Counts of nothing yet. */
export function noCounts(): StackCounts {
  return {
    stacks: 0,
    refused: 0,
    entries: 0,
    prefixes: 0,
    paths: 0,
    takenOver: 0,
    threaded: 0,
    laidOut: 0,
    judgedOutside: 0,
  };
}

/** Takes the device of a prefix of the layers, for e2fsck. */
export type JudgeDevice = (prefix: number, blocks: DeviceBlocks) => Promise<void>;

/** Takes the images of a whole stack, full and index-only, for a judge from outside. */
export type JudgeImages = (images: JudgedImages) => Promise<void>;

/** Checks one case; throws an Error that says what differs. */
export async function checkStack(
  one: StackCase,
  judge: JudgeDevice,
  counts: StackCounts,
  judgeImages: JudgeImages = async () => undefined,
): Promise<void> {
  const { layers, options } = one.stack;
  const { laidOut = false } = one;
  const { trees, refusal } = readStack(layers, options);
  const tars = layers.map(tarOfEntries);
  const target = new MemoryTarget();
  await putSource(target, 'base', tars, one.compressions);
  counts.stacks++;
  if (refusal !== undefined) {
    await expectRefusal(convertStack(target, 'base', { laidOut }), refusal);
    counts.refused++;
    return;
  }
  const { tags } = await convertStack(target, 'base', { laidOut });
  const digests = tags.map(({ digest }) => digest);
  const open = await openPrefixes(target);
  for (const prefix of one.prefixes ?? trees.map((_, i) => i + 1)) {
    const tree = trees[prefix - 1]!;
    const { full, indexed } = await open(prefix);
    const blocks = await readBlocks(full);
    const differing = differingBlocks(blocks, await readBlocks(indexed));
    if (differing.length > 0)
      throw new Error(`layers 1 to ${prefix}: full and index-only differ in blocks ${differing}`);
    await compareTree(tree, full, `full, layers 1 to ${prefix}`);
    if (prefix === trees.length) await compareTree(tree, indexed, 'index-only');
    await judge(prefix, blocks);
    if (prefix === trees.length) await judgeImages({ target, tags: tags.map(({ tag }) => tag), blocks });
    counts.prefixes++;
    counts.paths += tree.length;
  }
  counts.entries += layers.reduce((sum, layer) => sum + layer.length, 0);
  if (laidOut) counts.laidOut++;
  if (!laidOut && one.takeOver !== undefined && one.takeOver < layers.length) {
    expectSame(digests, await takenOver(one, tars, one.takeOver), `with ${one.takeOver} layers taken over`);
    counts.takenOver++;
  }
  if (one.threads) {
    const again = await convertStack(await copyOf(one, tars), 'base', { workers: 2, laidOut });
    expectSame(
      digests,
      again.tags.map(({ digest }) => digest),
      'with two threads',
    );
    counts.threaded++;
  }
}

async function expectRefusal(converting: Promise<unknown>, refusal: Refusal): Promise<void> {
  const where = `${refusal.entry.kind} ${JSON.stringify(refusal.entry.path)} of layer ${refusal.layer + 1}`;
  const error = await converting.then(
    () => new Error(`${where} was accepted, against the rule that ${refusal.rule}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AccelError)) throw error;
  const isExpected =
    (error.code === 'tar-invalid' || error.code === 'limit-exceeded') &&
    String(error.where.layer).startsWith(`${refusal.layer + 1} of `);
  if (!isExpected) throw new Error(`${where} should be refused, but: ${error.message}`, { cause: error });
}

async function compareTree(expected: readonly TreeEntry[], device: MappedDevice, what: string): Promise<void> {
  const all = await treeOf(await Ext4Reader.open(device));
  const found = expected.some(({ path }) => path === '/lost+found') ? all : withoutLostAndFound(all);
  const differences = diffTrees(expected, found);
  if (differences.length > 0) throw new Error(`the tree differs (${what}):\n${differences.join('\n')}`);
  const mixed = pathsWithMixedTimes(found);
  if (mixed.length > 0) throw new Error(`atime, ctime and mtime differ (${what}): ${mixed.join(' ')}`);
}

/** Digests of the two images when the lowest layers were converted before, as an image of their own. */
async function takenOver(one: StackCase, tars: readonly Uint8Array[], count: number): Promise<string[]> {
  const target = new MemoryTarget();
  await putSource(target, 'lower', tars.slice(0, count), one.compressions);
  await convertStack(target, 'lower', { cache: true });
  await putSource(target, 'base', tars, one.compressions);
  let reused = 0;
  const onEvent = (event: ConvertEvent): void => {
    if (event.type === 'layer-reused') reused++;
  };
  const { tags } = await convertStack(target, 'base', { cache: true, onEvent });
  if (reused !== count) throw new Error(`${reused} of ${count} layers were taken over`);
  return tags.map(({ digest }) => digest);
}

async function copyOf(one: StackCase, tars: readonly Uint8Array[]): Promise<MemoryTarget> {
  const target = new MemoryTarget();
  await putSource(target, 'base', tars, one.compressions);
  return target;
}

function expectSame(expected: readonly string[], found: readonly string[], what: string): void {
  if (expected.join() !== found.join()) throw new Error(`other digests ${what}: ${found} instead of ${expected}`);
}
