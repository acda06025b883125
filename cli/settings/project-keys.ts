/** The flags that a project's file may set: it is part of a repository that somebody else may have written. */

/**
 * A project's file decides what the result is and how accel reports. It does not decide which images are read, written or
 * overwritten, with whose credentials, over which connections, what of the machine is read or used, and which checks and
 * bounds hold (decision 0027). A flag that is not here is not allowed.
 */
export const PROJECT_FLAGS: ReadonlySet<string> = new Set([
  // the result
  '--mode',
  '--platform',
  '--oci',
  '--referrer',
  '--vsize',
  '--algorithm',
  '--bs',
  '--level',
  '--span',
  '--layout',
  '--fstype',
  '--no-piece-list',
  '--prefetch-path',
  '--prefetch-format',
  '--prefetch-strict',
  '--format',
  '--strict',
  // the pace
  '--chunk-size',
  '--concurrency-limit',
  '--timeout',
  // the report
  '--json',
  '--quiet',
  '--verbose',
  '--dump-manifest',
  '--long',
]);
