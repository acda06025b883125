/**
 * The differential harness: random stacks of layers, converted in both modes and read back, against a model that shares
 * no code with the product; e2fsck after every layer. The long run, and the replay of what a failure prints:
 *
 *   ACCEL_STACKS=50000 npx vitest run tests/differential/stacks.test.ts
 *   ACCEL_STACKS_OPTIONS='{"algorithm":"lz4","level":9,"blockSize":32768}' npx vitest run tests/differential/stacks.test.ts
 *   ACCEL_STACKS_OPTIONS='{"layout":"startup"}' npx vitest run tests/differential/stacks.test.ts
 *   ACCEL_STACKS_SEED=<seed> ACCEL_STACKS_PATH=<path> npx vitest run tests/differential/stacks.test.ts
 *
 * With ACCEL_STACKS_JUDGE, a program from outside the project reads each stack's images as well (outside-judge.ts).
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LayerCompression } from '../../fixtures/compress.ts';
import { writeDevice } from '../support/device-blocks.ts';
import { e2fsck } from '../support/ext4-judge.ts';
import { randomStacks } from '../support/sound-stacks.ts';
import { describeWith, withTempDirectory } from '../support/tools.ts';
import { checkStack, type JudgeDevice, noCounts, type StackCase } from './check-stack.ts';
import { ALL_LAID_OUT, DEVICE_SIZE } from './convert-stack.ts';
import { DeviceJudge } from './device-judge.ts';
import { OutsideJudge } from './outside-judge.ts';

const STACKS = Number(process.env.ACCEL_STACKS ?? 2000);
const SEED = Number(process.env.ACCEL_STACKS_SEED ?? 20_261_125);
const PATH = process.env.ACCEL_STACKS_PATH;
const JUDGE = process.env.ACCEL_STACKS_JUDGE;
/** Stacks of one seed; a long run goes on with the next seed and says how far it is. */
const CHUNK = 2000;

const cases: fc.Arbitrary<StackCase> = fc.record({
  stack: randomStacks,
  compressions: fc.array(
    fc.oneof(
      { weight: 10, arbitrary: fc.constantFrom<LayerCompression>('none', 'gzip') },
      { weight: 1, arbitrary: fc.constantFrom<LayerCompression>('gzip-members', 'zstd') },
    ),
    { minLength: 5, maxLength: 5 },
  ),
  takeOver: fc.oneof(
    { weight: 6, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) },
  ),
  threads: fc.nat(99).map((chance) => chance === 50),
  laidOut: fc.nat(4).map((chance) => ALL_LAID_OUT || chance === 2),
});

const counts = noCounts();

/** Runs `body` with the judge from outside that the environment names. */
async function withOutsideJudge<T>(directory: string, body: (judge?: OutsideJudge) => Promise<T>): Promise<T> {
  if (JUDGE === undefined) return body();
  const judge = new OutsideJudge(JUDGE, directory, DEVICE_SIZE);
  try {
    return await body(judge);
  } finally {
    await judge.stop();
  }
}

/** Every device waits for its own e2fsck: slow, and what shrinking a failure needs. */
async function assertOneByOne(directory: string, parameters: fc.Parameters<[StackCase]>): Promise<void> {
  const device = join(directory, 'device');
  await withOutsideJudge(directory, async (outside) => {
    const property = fc.asyncProperty(cases, (one) =>
      checkStack(
        one,
        async (prefix, blocks) => {
          writeDevice(device, blocks, DEVICE_SIZE);
          await e2fsck(device).catch((cause: Error) => {
            throw new Error(`layers 1 to ${prefix}: ${cause.message}`, { cause });
          });
        },
        noCounts(),
        async (images) => {
          await outside?.add('images', images);
          await outside?.finish();
          const [complaint] = outside?.takeComplaints() ?? [];
          if (complaint !== undefined) throw new Error(`the judge from outside: ${complaint}`);
        },
      ),
    );
    await fc.assert(property, parameters);
  });
}

/** A chunk of stacks, their devices checked in batches; what fails there is tried again alone, and shrunk. */
async function assertChunk(directory: string, seed: number, numRuns: number): Promise<void> {
  const judge = new DeviceJudge(directory);
  let run = 0;
  const complaints = await withOutsideJudge(directory, async (outside) => {
    const property = fc.asyncProperty(cases, (one) => {
      const name = String(run++);
      const judgeDevice: JudgeDevice = (prefix, blocks) => judge.add(`${name}-${prefix}`, blocks);
      return checkStack(one, judgeDevice, counts, async (images) => outside?.add(`${name}-images`, images));
    });
    await fc.assert(property, { seed, numRuns });
    await judge.finish();
    await outside?.finish();
    counts.judgedOutside += outside?.count ?? 0;
    return outside?.takeComplaints() ?? [];
  });
  const [unsound] = [...judge.unsound, ...complaints];
  if (unsound === undefined) return;
  await assertOneByOne(directory, { seed, path: unsound.slice(0, unsound.indexOf('-')), numRuns: 1 });
  throw new Error(`a judge had something to say of stack ${unsound} of seed ${seed}, and nothing when asked again`);
}

describeWith({ tools: ['e2fsck'] }, 'random stacks of layers, in both modes', () => {
  test(`mean what the model says: ${STACKS} stacks`, { timeout: 600_000 + STACKS * 1000 }, async () => {
    await withTempDirectory(async (directory) => {
      if (PATH !== undefined) {
        await assertOneByOne(directory, { seed: SEED, path: PATH });
        return;
      }
      for (let done = 0; done < STACKS; done += CHUNK) {
        const scratch = join(directory, String(done));
        mkdirSync(scratch);
        await assertChunk(scratch, SEED + done / CHUNK, Math.min(CHUNK, STACKS - done));
        if (STACKS > CHUNK || JUDGE !== undefined) console.log(new Date().toISOString(), JSON.stringify(counts));
      }
      // Chance may give less of one thing, but not of everything.
      expect(counts.prefixes).toBeGreaterThan(counts.stacks * 2);
      expect(counts.refused).toBeGreaterThan(counts.stacks / 50);
      // Layers that are laid out, a fifth, are not taken over.
      if (!ALL_LAID_OUT) expect(counts.takenOver).toBeGreaterThan(counts.stacks / 40);
      if (JUDGE !== undefined) expect(counts.judgedOutside).toBe(2 * (counts.stacks - counts.refused));
    });
  });
});
