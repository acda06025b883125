/**
 * The gate of the documentation, run from the project's root: every exported symbol has a doc comment, no file is too
 * long, links and citations lead somewhere, the commands that the pages name exist, docs/cli.md is fresh. Exit 1 with a
 * list otherwise.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { ACTION_DOCS_PATH, withActionTables } from './action-docs.ts';
import { CLI_DOCS_PATH, renderCliDocs } from './cli-docs.ts';
import { CONFIG_DOCS_PATH, renderConfigDocs, renderValuesSchema, VALUES_SCHEMA_PATH } from './config-docs.ts';
import { brokenCitations, brokenLinks, overlongFile, undocumentedExports, unknownScripts } from './doc-checks.ts';
import { isGenerated, isTest, listFiles, OTHER_ROOMS, PRODUCT_ROOMS } from './source-files.ts';

/** Commands for a reader to paste: each must be on a line of its own in the README. */
const README_COMMANDS = ['npm ci && npm run demo', 'npm ci && npm test'];

const root = process.cwd();
const sources = listFiles(root, [...PRODUCT_ROOMS, ...OTHER_ROOMS], ['.ts']);
const pages = [
  ...listFiles(root, ['docs', ...PRODUCT_ROOMS, ...OTHER_ROOMS], ['.md']),
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md'].map((path) => ({ path, text: read(path) ?? '' })),
];
const { scripts } = JSON.parse(read('package.json') ?? '{}') as { scripts: Record<string, string> };
const readmeLines = (read('README.md') ?? '').split('\n').map((line) => line.trim());

const complaints = [
  ...sources.filter(({ path, text }) => !isTest(path) && !isGenerated(text)).flatMap(undocumentedExports),
  ...sources.flatMap(overlongFile),
  ...sources.filter(({ path }) => !isTest(path)).flatMap((source) => brokenCitations(source, read)),
  ...pages.flatMap((page) => brokenLinks(page, read)),
  ...pages.flatMap((page) => unknownScripts(page, scripts)),
  ...README_COMMANDS.filter((command) => !readmeLines.includes(command)).map(
    (command) => `README.md: no line that reads "${command}"`,
  ),
  ...(read(CLI_DOCS_PATH) === (await renderCliDocs())
    ? []
    : [`${CLI_DOCS_PATH} is stale: run node dist/scripts/generate-docs.js`]),
  ...(read(ACTION_DOCS_PATH) === withActionTables(read(ACTION_DOCS_PATH) ?? '', read('action.yml') ?? '')
    ? []
    : [`${ACTION_DOCS_PATH} is stale: run node dist/scripts/generate-docs.js`]),
  ...[
    [CONFIG_DOCS_PATH, renderConfigDocs()],
    [VALUES_SCHEMA_PATH, renderValuesSchema()],
  ].flatMap(([path, text]) =>
    read(path!) === text ? [] : [`${path} is stale: run node dist/scripts/generate-docs.js`],
  ),
];
for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
console.log(`documentation: ${sources.length} sources and ${pages.length} pages read, ${complaints.length} complaints`);
if (complaints.length > 0) process.exitCode = 1;

/** The text of a file, the empty text for a folder, undefined where there is nothing. */
function read(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  return statSync(path).isDirectory() ? '' : readFileSync(path, 'utf8');
}
