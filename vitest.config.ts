import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: [
      '{base,disk,http,formats,oci,reader,prefetch,verify,inspect,converter,triggers,notify,action,cli,fixtures,bench,scripts,tests}/**/*.test.ts',
    ],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Each file gets a process of its own: worker threads and WebAssembly memories of one do not weigh on the next.
    pool: 'forks',
    maxWorkers: 2,
  },
});
