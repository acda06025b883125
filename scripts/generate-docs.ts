/** Writes docs/cli.md; with `--check` it only says whether the file is what it would write (exit 1 when not). */
import { readFileSync, writeFileSync } from 'node:fs';
import { CLI_DOCS_PATH, renderCliDocs } from './cli-docs.ts';

const text = await renderCliDocs();
if (!process.argv.includes('--check')) {
  writeFileSync(CLI_DOCS_PATH, text);
  console.log(`wrote ${CLI_DOCS_PATH}`);
} else if (readFileSync(CLI_DOCS_PATH, 'utf8') !== text) {
  process.stderr.write(`${CLI_DOCS_PATH} is stale: run node dist/scripts/generate-docs.js\n`);
  process.exitCode = 1;
} else {
  console.log(`${CLI_DOCS_PATH} is fresh`);
}
