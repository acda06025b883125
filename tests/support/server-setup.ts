/**
 * Set-up of the tests of server/: as vitest's global set-up it fetches their Node; in each test file it skips the tests
 * where that failed. In CI the failure fails the run.
 */
import { fetchServerNode } from '../../scripts/server-node.ts';

/** Called by vitest once, before the first test file of server/. */
export default async function setup(): Promise<void> {
  try {
    await fetchServerNode();
  } catch (error) {
    if (process.env.CI) throw error;
    process.stderr.write(
      `tests of server/ are skipped, their Node could not be fetched: ${(error as Error).message}\n`,
    );
  }
}
