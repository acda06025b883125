/** Says for how many cases, or how long, a random test goes on. */
const SECONDS = process.env.ACCEL_FUZZ_SECONDS;

/** Milliseconds that a test may take besides those that ACCEL_FUZZ_SECONDS asks for. */
const PATIENCE = 180_000;

/** Whether ACCEL_FUZZ_SECONDS asks for a hunt by hand. */
export const isHunt = SECONDS !== undefined;

/** For a test with {@link fuzzRuns}: how long it may take. */
export const FUZZ_TIMEOUT = Number(SECONDS ?? 0) * 1000 + PATIENCE;

/** Limits for fast-check: `runs`, however slow the machine is; with ACCEL_FUZZ_SECONDS as many as fit into that. */
export function fuzzRuns(runs: number): { readonly numRuns: number; readonly interruptAfterTimeLimit?: number } {
  return isHunt ? { numRuns: 1_000_000, interruptAfterTimeLimit: Number(SECONDS) * 1000 } : { numRuns: runs };
}
