/**
 * A fixed number of damaged inputs for every parser, the same ones on every run (README.md). ACCEL_FUZZ_SEED tries
 * others; `npm run fuzz` as many as there is time for.
 */
import { expect, test } from 'vitest';
import { requireBuild } from '../support/accel.ts';
import { runFuzz } from './run.ts';
import { TARGETS } from './targets/index.ts';

const SEED = Number(process.env.ACCEL_FUZZ_SEED ?? 20_261_125);
/** Targets whose parser takes anything: it reads what it can and does without the rest. */
const LENIENT = new Set(['layer-cache']);

test.each(TARGETS)('$name: $cases inputs', async ({ name, cases }) => {
  await requireBuild();
  const { tally, findings } = await runFuzz({ target: name, seed: SEED, cases });
  const told = findings.map(
    ({ number, problem }) => `npm run fuzz -- ${name} --seed ${SEED} --case ${number}: ${problem}`,
  );
  expect(told).toEqual([]);
  expect(tally.cases).toBe(cases);
  // Both sides of the fence were visited.
  expect(tally.accepted).toBeGreaterThan(cases / 100);
  if (!LENIENT.has(name)) expect(tally.accepted).toBeLessThan((cases * 99) / 100);
});

test('a finding is reported with the facts that reproduce it', async () => {
  await requireBuild();
  const { findings } = await runFuzz({ target: 'self-test', seed: 7, cases: 12 });
  expect(findings.map(({ number, problem }) => [number, problem.split('\n')[0]])).toEqual([
    [3, 'an oracle disagrees'],
    [5, expect.stringContaining('a defect')],
    [11, expect.stringContaining('the case holds')],
  ]);
});

test('a thread that takes all memory is a finding', async () => {
  await requireBuild();
  const { findings } = await runFuzz({ target: 'self-test', seed: 7, first: 13, cases: 5, heap: 64 });
  expect(findings).toMatchObject([{ number: 13, problem: expect.stringContaining('memory') }]);
});

test('a case that hangs is a finding', async () => {
  await requireBuild();
  const { findings } = await runFuzz({ target: 'self-test', seed: 7, first: 17, cases: 5, patience: 1500 });
  expect(findings).toMatchObject([{ number: 17, problem: expect.stringContaining('no end') }]);
});
