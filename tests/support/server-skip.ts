/** Skips the tests of server/ where their Node could not be fetched (server-setup.ts says so); runs in each test file. */
import { beforeEach } from 'vitest';

if (Number.parseInt(process.versions.node, 10) < 24) {
  beforeEach(({ skip }) => skip('needs a newer Node than the one that runs here'));
}
