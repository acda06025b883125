/**
 * Runs in each process that runs tests. vitest ends it by SIGTERM, also while a case that a time limit cut off is still
 * under way; by default nothing that waits for the process's end would run then, and its files would stay.
 */
process.once('SIGTERM', () => process.exit(143));
