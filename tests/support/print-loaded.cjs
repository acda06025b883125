// Preloaded by tests/package.test.ts: prints the names of the project's files that a program has loaded when it ends.
const { basename } = require('node:path');

process.on('exit', () => {
  const names = Object.keys(require.cache).filter((path) => path !== __filename);
  process.stdout.write(names.map((path) => `${basename(path)}\n`).join(''));
});
