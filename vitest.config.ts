import { defineConfig } from 'vitest/config';
import { serverPool } from './tests/support/server-pool.ts';

// Generous: what they bound is a hang. Hooks start registries, clusters and machines, beside other files on two cores.
const common = { testTimeout: 180_000, hookTimeout: 240_000, expect: { poll: { timeout: 60_000 } } };

export default defineConfig({
  test: {
    maxWorkers: 2,
    globalSetup: ['tests/support/run-directory.ts'],
    // One run of two projects, and one summary at its end.
    projects: [
      {
        test: {
          ...common,
          name: 'accel',
          include: [
            '{base,disk,http,formats,oci,reader,prefetch,verify,inspect,converter,triggers,notify,action,cli,fixtures,bench,scripts,tests}/**/*.test.ts',
          ],
          // Each file gets a process of its own: worker threads and WebAssembly memories of one do not weigh on the next.
          pool: 'forks',
          setupFiles: ['tests/support/end-of-worker.ts'],
        },
      },
      {
        test: {
          ...common,
          name: 'server',
          include: ['server/**/*.test.ts'],
          // The server needs a newer Node than the rest; its tests run on one, whichever runs this.
          pool: serverPool,
          globalSetup: ['tests/support/server-setup.ts'],
          setupFiles: ['tests/support/end-of-worker.ts', 'tests/support/server-skip.ts'],
        },
      },
    ],
  },
});
